"""Small archives in CIFAR-10's layout, right ones and wrong ones, for the data set's tests."""

import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ["red", "green", "blue"]
SIDE = 4  # pixels


def made_images(count: int, seed: int) -> np.ndarray:
    """[count, SIDE, SIDE, 3] uint8 noise."""
    shape = (count, SIDE, SIDE, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def made_batch(images: np.ndarray, labels: list[int]) -> dict[str, Any]:
    """As CIFAR-10's batches: the red plane, then the green, then the blue one in a row."""
    planes = [images[..., channel].reshape(len(images), -1) for channel in range(3)]
    return {"data": np.concatenate(planes, axis=1), "labels": labels}


def made_members(train_batches: int = 2, per_batch: int = 30) -> dict[str, Any]:
    """Label ids go round: as many of each of the three classes."""
    members: dict[str, Any] = {"batches.meta": {"label_names": NAMES}}
    names = [*(f"data_batch_{number + 1}" for number in range(train_batches)), "test_batch"]
    for seed, name in enumerate(names):
        labels = [index % 3 for index in range(per_batch)]
        members[name] = made_batch(made_images(per_batch, seed), labels)
    return members


def write_archive(path: Path, members: Mapping[str, Any], folder: str = "made/") -> Path:
    """Writes a tar.gz; bytes are taken as they are, everything else is pickled as Python 2 does."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(folder + name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path
