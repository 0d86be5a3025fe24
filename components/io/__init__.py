"""Files: resumable downloads, safe archives, TFRecords with random access, exported models."""
