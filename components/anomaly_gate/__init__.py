"""The gate on the data: anomalies that ExampleValidator reports stop the run."""
