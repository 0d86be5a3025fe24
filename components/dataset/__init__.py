"""Archives of labelled images: read, looked at, and converted to TFRecords."""
