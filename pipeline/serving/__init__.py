"""`serve`: the pushed model behind HTTP, with TensorFlow Serving's REST routes."""
