"""Data, transform, backbone and custom TFX components. Imports nothing by itself."""
