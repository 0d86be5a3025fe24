"""Files: resumable downloads, safe archives, and TFRecords with random access."""
