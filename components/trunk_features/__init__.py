"""The frozen trunk, run once for each image, on Beam."""
