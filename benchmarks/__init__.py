"""Speed, as ratios of paired runs on one machine. ``make bench``."""
