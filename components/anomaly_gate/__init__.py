"""The gate on the data: anomalies that ExampleValidator found stop the run."""
