"""A simulated month of days that are watched. ``python -m benchmarks.days``."""
