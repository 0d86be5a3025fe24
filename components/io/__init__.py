"""Files: downloads, copies of stores, archives, TFRecords with random access, exported models."""
