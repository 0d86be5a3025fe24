"""What tasks read besides artifacts, in one folder that never changes once it is written."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inception_finetune.components.dataset import manifest
from inception_finetune.components.errors import UserError
from inception_finetune.kubeflow import storage
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.inputs import Inputs

RECORDS, BACKBONE = "records", "backbone"
# Written last, with the upload's own digest: a folder without it is not whole.
COMPLETE = "complete.json"


@dataclass(frozen=True)
class Upload:
    inputs: Inputs  # on this machine
    digest: str  # sha256 of all that is uploaded

    def place(self, config: Config) -> str:
        """Another content gets another folder: Kubeflow's cache goes by the place alone."""
        return f"{storage_folder(config)}/data/{config.name}-{self.digest[:12]}"


def schema_name(inputs: Inputs) -> str:
    """With a hash of the labels: a package does not find its schema beside data with others."""
    labels = hashlib.sha256("\0".join(inputs.label_names).encode())
    return f"schema-{labels.hexdigest()[:12]}.pbtxt"


def plan_upload(inputs: Inputs) -> Upload:
    """Names the content of prepared inputs."""
    digest = hashlib.sha256()
    digest.update(Path(inputs.records, manifest.MANIFEST_FILE).read_bytes())
    digest.update(Path(inputs.schema_file).read_bytes())
    digest.update(inputs.backbone_fingerprint.encode())
    return Upload(inputs, digest.hexdigest())


def upload(plan: Upload, place: str, announce: Callable[[str], None]) -> bool:
    """Copies records, schema and backbone to `place`; returns False where they are there already.

    Raises:
      UserError: the store refuses, or something else lies there.
    """
    marker = f"{place}/{COMPLETE}"
    content = json.dumps({"digest": plan.digest}).encode()
    present = storage.read(marker)
    if present == content:
        return False
    if present is not None:
        raise UserError(
            f"an upload must not replace another one. Received: {place}, which holds other data; "
            "give another folder"
        )
    announce("records")
    storage.store(Path(plan.inputs.records), f"{place}/{RECORDS}")
    announce("backbone")
    storage.store(Path(plan.inputs.backbone), f"{place}/{BACKBONE}")
    storage.store_file(Path(plan.inputs.schema_file), f"{place}/{schema_name(plan.inputs)}")
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        storage.store_file(Path(file.name), marker)
    return True


def storage_folder(config: Config) -> str:
    """The configured folder.

    Raises:
      UserError: none is, or it is of no known kind.
    """
    place = config.kubeflow.storage.rstrip("/")
    if not storage.is_remote(place):
        raise UserError(
            "kubeflow.storage must be a folder that every task reaches, s3://, minio:// or gs://. "
            f"Received: {place!r}; give kubeflow.storage=s3://BUCKET/FOLDER"
        )
    return place
