"""Archives, folders, lists and TFRecords of labelled images: read, checked, shown, converted."""
