"""`check-data`: whether new pictures are like those that a model was trained on."""
