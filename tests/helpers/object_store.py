"""Names in the object store on loopback that `tests/kubeflow/conftest.py` starts."""

from typing import Final

BUCKET: Final = "pipelines"
