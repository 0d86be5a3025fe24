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
    """What to upload, and its identity."""

    inputs: Inputs  # on this machine
    digest: str  # sha256 of all that is uploaded

    def place(self, config: Config) -> str:
        """The folder to upload to, another one for each content.

        Kubeflow's cache goes by the address of data alone.

        Args:
          config: the configuration.

        Returns:
          A folder in `kubeflow.storage`.

        Raises:
          UserError: `kubeflow.storage` is missing or not in an object store.
        """
        return f"{storage_folder(config)}/data/{config.name}-{self.digest[:12]}"


def schema_name(inputs: Inputs) -> str:
    """The schema's file name, with a hash of the labels.

    So a package does not find its schema beside data with other labels.
    """
    labels = hashlib.sha256("\0".join(inputs.label_names).encode())
    return f"schema-{labels.hexdigest()[:12]}.pbtxt"


def plan_upload(inputs: Inputs) -> Upload:
    """Computes the identity of prepared inputs from records, schema and backbone.

    Args:
      inputs: inputs on this machine.

    Returns:
      The upload to be made.
    """
    digest = hashlib.sha256()
    digest.update(Path(inputs.records, manifest.MANIFEST_FILE).read_bytes())
    digest.update(Path(inputs.schema_file).read_bytes())
    digest.update(inputs.backbone_fingerprint.encode())
    return Upload(inputs, digest.hexdigest())


def upload(plan: Upload, place: str, announce: Callable[[str], None]) -> bool:
    """Copies records, schema and backbone to a folder.

    Args:
      plan: what to upload.
      place: the folder, on this machine or in an object store.
      announce: called with the name of each part before it is copied.

    Returns:
      Whether anything was copied; False if this very upload is complete already.

    Raises:
      UserError: the store refuses, or the folder holds another upload.
    """
    marker = f"{place}/{COMPLETE}"
    content = json.dumps({"digest": plan.digest}).encode()
    present = storage.read(marker)
    if present == content:
        return False
    if present is not None:
        raise UserError(
            f"{place} holds other data, which an upload does not replace. Give another folder."
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
    """The folder in an object store that is configured as `kubeflow.storage`.

    Args:
      config: the configuration.

    Returns:
      Its address, without a slash at the end.

    Raises:
      UserError: it is missing or not in an object store.
    """
    place = config.kubeflow.storage.rstrip("/")
    if not storage.is_remote(place):
        raise UserError(
            f"kubeflow.storage {place!r} is not in an object store, which every task reaches. Give "
            "kubeflow.storage=s3://BUCKET/FOLDER, or one at minio:// or gs://."
        )
    return place
