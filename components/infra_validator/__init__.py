"""InfraValidator: the model is asked through a real server before it is pushed."""
