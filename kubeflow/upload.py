"""What tasks read besides artifacts, in one folder that never changes once it is written."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from inception_finetune.components.dataset import manifest
from inception_finetune.components.errors import UserError
from inception_finetune.components.settings import Section
from inception_finetune.kubeflow import storage
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.inputs import Inputs

RECORDS, BACKBONE = "records", "backbone"
# A `Marker`, written last: a folder without it is not whole.
COMPLETE = "complete.json"
_DIGEST = 12  # of its digits in the name of a folder


class Marker(Section):
    """What an upload says of itself; of a window of spans, also how it is found."""

    digest: str  # sha256 of all that is uploaded
    span: str | None = None  # the newest one's name
    uploaded: AwareDatetime | None = None  # or last found to be there already
    backbone_fingerprint: str | None = None


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
        return f"{uploads_folder(config)}/{config.name}-{self.digest[:_DIGEST]}"

    def marker(self) -> Marker:
        """Returns what the folder's marker is to say now."""
        if not self.inputs.spans:
            return Marker(digest=self.digest)
        return Marker(
            digest=self.digest,
            span=list(self.inputs.spans)[-1].partition(" (")[0],
            uploaded=datetime.now(UTC),
            backbone_fingerprint=self.inputs.backbone_fingerprint,
        )


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

    Of a window that is there already, the time of the upload is written anew: it is again the
    last one of its span.

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
    present = storage.read(marker)
    if present is not None:
        known = parse_marker(present)
        if known is None or known.digest != plan.digest:
            raise UserError(
                f"{place} holds other data, which an upload does not replace. Give another folder."
            )
        if not plan.inputs.spans:
            return False
    else:
        announce("records")
        storage.store(Path(plan.inputs.records), f"{place}/{RECORDS}")
        announce("backbone")
        storage.store(Path(plan.inputs.backbone), f"{place}/{BACKBONE}")
        storage.store_file(Path(plan.inputs.schema_file), f"{place}/{schema_name(plan.inputs)}")
    storage.write(plan.marker().model_dump_json(exclude_none=True).encode(), marker)
    return present is None


def parse_marker(content: bytes) -> Marker | None:
    """Reads a marker; None where it is none that this program has written."""
    try:
        return Marker.model_validate_json(content)
    except ValidationError:
        return None


def find_markers(folder: str, name: str) -> dict[str, Marker | None]:
    """Reads the markers of all whole uploads of a pipeline.

    Args:
      folder: as `uploads_folder` gives it.
      name: of the pipeline.

    Returns:
      By the upload's address; None for one that this program has not written.

    Raises:
      UserError: the store refuses.
    """
    names = re.compile(rf"{re.escape(name)}-[0-9a-f]{{{_DIGEST}}}")
    contents = storage.read_in_folders(folder, names, COMPLETE)
    return {f"{folder}/{one}": parse_marker(content) for one, content in contents.items()}


def uploads_folder(config: Config) -> str:
    """Returns the folder of all uploads.

    Args:
      config: the configuration.

    Raises:
      UserError: `kubeflow.storage` is missing or not in an object store.
    """
    return f"{storage_folder(config)}/data"


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
