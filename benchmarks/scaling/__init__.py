"""How long each step takes on many images and many workers: measured, fitted, predicted."""
