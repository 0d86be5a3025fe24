"""From stored bytes to the network's input: decoding, EXIF, Transform, views, schema."""
