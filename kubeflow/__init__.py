"""Kubeflow compilation and submission. Imports nothing by itself."""
