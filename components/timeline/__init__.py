"""The days of a pipeline that is watched, on a page."""
