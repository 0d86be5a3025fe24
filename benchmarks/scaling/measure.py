"""Runs the whole DAG on made archives of several sizes and reads back what each step took."""

import gzip
import io
import os
import pickle
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

IMAGE_SIZE: Final = 75  # pixels, of the network's input: InceptionV3's smallest
WHOLE_SIZE: Final = 299  # pixels, what InceptionV3 was made for: steps that run it are measured so
SIDE: Final = 32  # pixels, of the pictures
CLASSES: Final = 10
SIZES: Final = (1000, 2000, 4000, 8000, 60_000)  # images; the last as many as CIFAR-10's
WHOLE_SIZES: Final = (500, 1000, 2000)  # images, at WHOLE_SIZE
WATCHED: Final = 2.0  # seconds
TEST_SHARE: Final = 6  # one picture of six is a test picture, as in CIFAR-10
SETTINGS: Final = (
    "backbone.handle=standin",
    "image={central_crop: 0.875, views: [identity]}",
    "backbone.trainable_from=Mixed_7a",
    "training={epochs: 1, batch_size: 64}",
    "gate.min_accuracy=0",
    "feature_cache=true",
)


@dataclass(frozen=True)
class Engine:
    name: str
    parallelism: int
    overrides: tuple[str, ...]
    image_size: int  # pixels, of the network's input


@dataclass(frozen=True)
class Run:
    engine: str
    parallelism: int
    image_size: int
    images: int
    seconds: dict[str, float]  # by step, and "whole command"
    feature_bytes: int  # stored trunk features of train and validation
    busy_before: float  # cores that others kept busy, in the seconds before it began
    day: str
    cores: int


def make_archive(path: Path, images: int) -> Path:
    """Random pictures in CIFAR-10's layout, the same each time."""
    if path.exists():
        return path
    random = np.random.default_rng(images)
    test = images // TEST_SHARE
    members: dict[str, Any] = {"batches.meta": {"label_names": [f"class {n}" for n in range(10)]}}
    for name, count in (("data_batch_1", images - test), ("test_batch", test)):
        members[name] = {
            "data": random.integers(0, 256, [count, 3 * SIDE * SIDE], np.uint8),
            "labels": (np.arange(count) % CLASSES).tolist(),
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb", 1) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members.items():
            data = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def run_once(directory: Path, images: int, engine: Engine) -> Run:
    """The command in a process of its own, from a fresh root."""
    from inception_finetune.pipeline.config import load_config
    from inception_finetune.pipeline.history.outcome import read_outcome

    archive = make_archive(directory / "archives" / f"{images}.tar.gz", images)
    root = (
        directory
        / f"{engine.name}-{engine.parallelism}-{engine.image_size}-{images}-{time.time_ns()}"
    )
    overrides = [
        f"dataset.archive={archive}",
        f"root={root}",
        f"cache={directory / 'cache'}",
        *SETTINGS,
        f"image.size={engine.image_size}",
        *engine.overrides,
    ]
    busy = psutil.cpu_percent(interval=WATCHED) / 100 * (os.cpu_count() or 1)
    day = time.strftime("%Y-%m-%d")
    started = time.perf_counter()
    command = Path(sys.executable).with_name("inception-finetune")
    ran = subprocess.run(
        [command, "run", "--config", "cifar10", *overrides], capture_output=True, text=True
    )
    whole = time.perf_counter() - started
    if ran.returncode:
        raise SystemExit(f"{engine.name}, {images} images: {ran.stderr[-2000:]}")
    steps = read_outcome(load_config("cifar10", overrides)).steps
    stored = root.glob("artifacts/TrunkFeatures/trunk_features/*/Split-*/*.tfrecord")
    return Run(
        engine.name,
        engine.parallelism,
        engine.image_size,
        images,
        {step.name: step.seconds for step in steps} | {"whole command": whole},
        sum(path.stat().st_size for path in stored),
        busy,
        day,
        len(os.sched_getaffinity(0)),
    )


def run_all(directory: Path, plan: Sequence[tuple[Engine, int]], rounds: int) -> Iterator[Run]:
    """Each engine with each number of images that is planned for it.

    Rounds are the outer loop, so that what else the machine does hits all alike. A run that is
    not counted comes first: it makes the stand-in, and files come into the system's memory.
    """
    from inception_finetune.components.progress import progress

    with progress("Measuring", rounds * len(plan), "runs") as advance:
        run_once(directory, min(images for _, images in plan), plan[0][0])
        for _ in range(rounds):
            for engine, images in plan:
                yield run_once(directory, images, engine)
                advance(1, note=f"{engine.name} x{engine.parallelism}, {images} images")
