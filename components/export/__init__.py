"""The exported model in other formats than SavedModel, and how their files are opened."""
