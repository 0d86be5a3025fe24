"""Two runs of a pipeline, side by side."""
