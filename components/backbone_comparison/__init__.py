"""Linear probes at every block of several backbones: what each cut gives, and what it costs."""
