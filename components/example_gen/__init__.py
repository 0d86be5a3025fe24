"""TFX's ImportExampleGen, streaming."""
