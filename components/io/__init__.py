"""Files: downloads, archives, and TFRecords that are read in any order."""
