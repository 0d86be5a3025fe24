"""Accuracy on corrupted pictures: measured, and shown on a page."""
