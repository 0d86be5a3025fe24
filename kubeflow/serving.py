"""What serves the pushed model on a cluster, as a manifest, and the requests that it answers."""

import base64
import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path, PurePosixPath

import jinja2
from pydantic import BaseModel

from inception_finetune.components.dataset.probe import probe_image
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.prediction.pictures import read_pictures

SIGNATURE, INPUT = "predict_images", "images"


class Kind(StrEnum):
    KSERVE = "kserve"
    TF_SERVING = "tf-serving"


class Volume(BaseModel):
    claim: str  # name of the PersistentVolumeClaim
    folder: str  # where it is mounted


def manifest(
    config: Config, kind: Kind, *, model: str | None = None, service_account: str | None = None
) -> str:
    """YAML for ``kubectl apply -f -``.

    Args:
      model: the folder that versions are pushed to, as the run's parameter `serving` names it.

    Raises:
      UserError: no such folder is known, or this kind of server cannot open it.
    """
    place = (model or _pushed_to(config)).rstrip("/")
    volume = _volume(config, place)
    if kind == Kind.TF_SERVING and not volume and not place.startswith("gs://"):
        raise UserError(
            "TensorFlow Serving by itself opens gs:// and mounted volumes. Received: "
            f"{place}; take --kind kserve, which brings the model from there"
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "manifests"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML, whose values are put in by `tojson`
    )
    return environment.get_template(f"{kind}.yaml.j2").render(
        name=config.name,
        serving=config.kubeflow.serving,
        memory=f"{config.kubeflow.serving.memory * 1000:.0f}M",
        service_account=service_account,
        volume=volume,
        base_path=place,
        storage_uri=_storage_uri(place, volume),
    )


def predict_request(images: Sequence[Path], *, columns: bool = False) -> str:
    """The body of a POST to ``/v1/models/NAME:predict`` for picture files, in rows or columns.

    Raises:
      UserError: a file is not a whole picture.
    """
    encoded = [{"b64": base64.b64encode(one).decode()} for one in _whole_pictures(images)]
    rows_or_columns: dict[str, object] = {"inputs": {INPUT: encoded}}
    if not columns:
        rows_or_columns = {"instances": [{INPUT: picture} for picture in encoded]}
    return json.dumps({"signature_name": SIGNATURE, **rows_or_columns})


def _whole_pictures(images: Sequence[Path]) -> Iterator[bytes]:
    for picture in read_pictures(images, ()):
        reason = picture.error or probe_image(picture.encoded)
        if isinstance(reason, str):
            raise UserError(f"{reason}. Received: {picture.name}; replace or leave out that file")
        yield picture.encoded


def _pushed_to(config: Config) -> str:
    if not config.kubeflow.storage:
        raise UserError(
            "the folder of the pushed versions must be known. Received: no kubeflow.storage; set "
            "it in the configuration, or give --model FOLDER"
        )
    return f"{config.kubeflow.storage}/serving/{config.name}"


def _volume(config: Config, place: str) -> Volume | None:
    """The volume that `place` lies in; None where it is in an object store."""
    if "://" in place:
        return None
    for claim, folder in config.kubeflow.volumes.items():
        if PurePosixPath(place).is_relative_to(folder):
            return Volume(claim=claim, folder=folder)
    raise UserError(
        "a folder of models must lie in an object store or in one of kubeflow.volumes. "
        f"Received: {place}; name its volume in the configuration, or give another --model"
    )


def _storage_uri(place: str, volume: Volume | None) -> str:
    """As KServe names it; MinIO speaks S3, and the service account's secret has its address."""
    if volume:
        return f"pvc://{volume.claim}/{PurePosixPath(place).relative_to(volume.folder)}"
    return f"s3://{place.removeprefix('minio://')}" if place.startswith("minio://") else place
