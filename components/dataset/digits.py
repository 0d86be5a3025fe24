"""scikit-learn's handwritten digits in the layout of a CIFAR-10 archive: the embedded default."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.archive import META, TEST_BATCH
from inception_finetune.components.features import CHANNELS
from inception_finetune.components.io.marked_folder import scratch_folder

LABEL_NAMES: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
)  # fmt: skip
SIDE: Final = 32  # pixels, as CIFAR-10
TEST_IMAGES: Final = 360  # of 1,797: a fifth
TRAIN_BATCHES: Final = 5
_SPLIT_SEED: Final = 0
_LARGEST_VALUE: Final = 16  # scikit-learn's scale of ink


def write_digits_archive(target: Path) -> Path:
    """Writes the 1,797 real 8x8 digits, enlarged to 32x32 RGB, as a tar.gz.

    The same libraries write the same bytes each time. The 360 test images are a stratified sample,
    so their writers also wrote training images: the digits check a pipeline, they are no benchmark.

    Args:
      target: path of the archive.

    Returns:
      `target`.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    rows = _enlarge(images.reshape(-1, 8, 8))
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_IMAGES, stratify=labels, random_state=_SPLIT_SEED
    )
    members: dict[str, dict[str, Any]] = {
        META: {"label_names": list(LABEL_NAMES), "num_vis": rows.shape[1]}
    }
    for number, part in enumerate(np.array_split(train, TRAIN_BATCHES), start=1):
        members[f"data_batch_{number}"] = _content(rows, labels, part)
    members[TEST_BATCH] = _content(rows, labels, test)

    target.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(f".{target.name}-", target.parent) as scratch:
        archive = scratch / target.name
        _write_tar(archive, members)
        archive.replace(target)
    return target


def _enlarge(images: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Enlarges [N, 8, 8] in 0..16 to [N, 3*32*32] in 0..255, with three equal channels."""
    from PIL import Image

    grey = np.round(images * (255 / _LARGEST_VALUE)).astype(np.uint8)
    size = (SIDE, SIDE)
    large = [
        np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in grey
    ]
    return np.tile(np.stack(large).reshape(len(large), -1), (1, CHANNELS))


def _content(
    rows: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], indices: npt.NDArray[np.int64]
) -> dict[str, Any]:
    return {"data": rows[indices], "labels": labels[indices].tolist()}


def _write_tar(path: Path, members: dict[str, dict[str, Any]]) -> None:
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as tar,
    ):
        for name, content in members.items():
            data = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(f"digits-batches-py/{name}")  # its mtime and owner are 0
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
