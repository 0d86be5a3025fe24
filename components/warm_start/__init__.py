"""Warm starts: what a training started from, where that was an earlier model."""
