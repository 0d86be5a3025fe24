"""The command group `kubeflow`."""
