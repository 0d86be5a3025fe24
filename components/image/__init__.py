"""From encoded bytes to the network's input: decoding, EXIF, Transform, views, schema."""
