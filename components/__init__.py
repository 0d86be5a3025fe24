"""Data, image, backbone and evaluation code, and the custom TFX components."""
