"""What serves the pushed model on a cluster, as a manifest, and the requests that it answers."""

import base64
import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path, PurePosixPath

import jinja2
from pydantic import BaseModel

from inception_finetune.components.dataset.probe import probe_image
from inception_finetune.components.dataset.source import stored_bytes
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.prediction.addresses import find_pictures
from inception_finetune.pipeline.prediction.pictures import read_pictures

VERSION_ANNOTATION = "inception-finetune/version"  # of an InferenceService
SIGNATURE, INPUT = "predict_images", "images"


class Kind(StrEnum):
    """What serves the model."""

    KSERVE = "kserve"
    TF_SERVING = "tf-serving"


class Volume(BaseModel):
    """A mounted volume of Kubernetes."""

    claim: str  # name of the PersistentVolumeClaim
    folder: str  # where it is mounted


def manifest(
    config: Config,
    kind: Kind,
    *,
    model: str | None = None,
    service_account: str | None = None,
    version: str | None = None,
    canary_percent: int | None = None,
) -> str:
    """Makes the manifest that serves the pushed model.

    Args:
      config: the configuration.
      kind: what serves the model.
      model: the folder that versions are pushed to, as the run's parameter `serving` names it;
        None for the folder below `kubeflow.storage`.
      service_account: Kubernetes service account that may read the model; None for the default.
      version: number of the newest version, for KServe: another one makes a new revision, whose
        pods download the folder anew. None where nobody counts revisions.
      canary_percent: of the requests that the new revision gets, 0 to 100; the one before it gets
        the others. None for all of them.

    Returns:
      YAML for ``kubectl apply -f -``.

    Raises:
      UserError: no such folder is configured, this kind of server cannot open it, or a canary is
        asked for that could not be one.
    """
    _require_canary(kind, version, canary_percent)
    place = (model or _pushed_to(config)).rstrip("/")
    volume = _volume(config, place)
    if kind == Kind.TF_SERVING and not volume and not place.startswith("gs://"):
        raise UserError(
            f"TensorFlow Serving cannot open {place}, only gs:// and mounted volumes. Give --kind "
            "kserve, which copies the model from there."
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
        annotation=VERSION_ANNOTATION,
        version=version,
        canary_percent=canary_percent,
    )


def _require_canary(kind: Kind, version: str | None, percent: int | None) -> None:
    if kind != Kind.KSERVE and (version is not None or percent is not None):
        raise UserError(
            f"A revision of --kind {kind} gets no share of the requests, which is KServe's. Leave "
            "out --version and --canary-percent, or give --kind kserve."
        )
    if version is not None and not version.isdecimal():
        raise UserError(f"Version {version!r} is no number. Give that of a pushed version.")
    if percent is not None and version is None:
        raise UserError(
            "--canary-percent has no version: KServe makes a new revision only of what changes. "
            "Give --version with the number of the version that was pushed last."
        )


def predict_request(images: Sequence[Path], *, columns: bool = False) -> str:
    """Makes the body of a POST to ``/v1/models/NAME:predict``.

    Args:
      images: PNG or JPEG files.
      columns: whether all pictures go into one tensor, instead of an instance for each.

    Returns:
      JSON with the files in base64.

    Raises:
      UserError: a file is not a complete picture.
    """
    encoded = [{"b64": base64.b64encode(one).decode()} for one in _whole_pictures(images)]
    rows_or_columns: dict[str, object] = {"inputs": {INPUT: encoded}}
    if not columns:
        rows_or_columns = {"instances": [{INPUT: picture} for picture in encoded]}
    return json.dumps({"signature_name": SIGNATURE, **rows_or_columns})


def _whole_pictures(images: Sequence[Path]) -> Iterator[bytes]:
    for picture in read_pictures(find_pictures(images), ()):
        reason = picture.error or probe_image(picture.encoded)
        if isinstance(reason, str):
            raise UserError(f"{picture.name}: {reason}. Replace or leave out that file.")
        yield stored_bytes(picture.encoded, picture.name)  # the served model reads PNG and JPEG


def _pushed_to(config: Config) -> str:
    if not config.kubeflow.storage:
        raise UserError(
            "No folder of pushed versions: kubeflow.storage is not set. Set it in the "
            "configuration, or give --model FOLDER."
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
        f"{place} is neither in an object store nor in one of kubeflow.volumes. Name its volume in "
        "the configuration, or give another --model."
    )


def _storage_uri(place: str, volume: Volume | None) -> str:
    """As KServe names it; MinIO speaks S3, and the service account's secret has its address.

    The folder's name ends with a slash: KServe downloads all S3 objects whose names begin so, and
    would take those of `digits-old` for files of `digits`.
    """
    if volume:
        return f"pvc://{volume.claim}/{PurePosixPath(place).relative_to(volume.folder)}"
    return f"{place.replace('minio://', 's3://', 1)}/"
