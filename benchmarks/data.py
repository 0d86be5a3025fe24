"""What the benchmarks work on: an archive, as a few images or as folders of pictures."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft
from PIL import Image

from inception_finetune.components import features
from inception_finetune.components.dataset.archive import Archive, read_archive
from inception_finetune.components.dataset.convert import convert
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.data_set import fetch_archive
from inception_finetune.pipeline.history.outcome import Outcome
from inception_finetune.pipeline.inputs import prepare_inputs
from inception_finetune.pipeline.local import run_pipeline


class Pictures(NamedTuple):
    """All pictures of an archive."""

    images: npt.NDArray[np.uint8]  # [N, H, W, 3]
    labels: npt.NDArray[np.int64]  # [N]
    splits: list[str]  # train or test
    label_names: tuple[str, ...]


def load_archive(config: Config) -> Archive:
    return read_archive(fetch_archive(config))


def first_images(archive: Archive, count: int) -> Archive:
    """`count` of the first train batch and of the test batch."""
    batches = tuple(
        replace(batch, images=batch.images[:count], labels=batch.labels[:count])
        for batch in (archive.batches[0], archive.batches[-1])
    )
    return replace(archive, batches=batches, fingerprint=f"{archive.fingerprint}:{count}")


def run_small(config: Config, archive: Archive) -> Outcome:
    """The whole DAG on few images: what its steps take is their fixed cost."""
    records = Path(config.root).resolve() / "few"
    convert(archive, records, validation_fraction=0.5, seed=0)
    return run_pipeline(config, replace(prepare_inputs(config), records=str(records)))


def train_examples(config: Config) -> list[bytes]:
    shards = sorted(Path(config.root, "few").glob(f"{features.TRAIN}-*.tfrecord"))
    return list(tf.data.TFRecordDataset(list(map(str, shards))).as_numpy_iterator())


def transform_graph(config: Config) -> tft.TFTransformOutput:
    graphs = Path(config.root, "artifacts", Step.TRANSFORM, "transform_graph").iterdir()
    return tft.TFTransformOutput(str(max(graphs, key=lambda path: int(path.name))))


def load_pictures(config: Config) -> Pictures:
    archive = load_archive(config)
    return Pictures(
        np.concatenate([batch.images for batch in archive.batches]),
        np.concatenate([np.asarray(batch.labels, np.int64) for batch in archive.batches]),
        [batch.split for batch in archive.batches for _ in batch.labels],
        archive.label_names,
    )


def with_long_tail(pictures: Pictures, ratio: float, seed: int = 0) -> Pictures:
    """Thins the train pictures: the first class keeps all, the last one of `ratio`, geometrically.

    Cui et al., "Class-Balanced Loss Based on Effective Number of Samples" (2019), section 5.1.
    """
    classes = len(pictures.label_names)
    return _thinned(
        pictures, [ratio ** (-label / max(classes - 1, 1)) for label in range(classes)], seed
    )


def with_train(pictures: Pictures, count: int, seed: int = 0) -> Pictures:
    """Thins the train pictures to about `count`, the same share of each class."""
    share = count / pictures.splits.count(features.TRAIN)
    return _thinned(pictures, [min(share, 1.0)] * len(pictures.label_names), seed)


def _thinned(pictures: Pictures, shares: Sequence[float], seed: int) -> Pictures:
    """Keeps a random share of the train pictures of each class, one at least, and all others."""
    random = np.random.default_rng(seed)
    is_train = np.array(pictures.splits) == features.TRAIN
    kept = [np.flatnonzero(~is_train)]
    for label, share in enumerate(shares):
        members = np.flatnonzero(is_train & (pictures.labels == label))
        kept.append(random.permutation(members)[: max(round(share * len(members)), 1)])
    order = np.sort(np.concatenate(kept))
    splits = [pictures.splits[place] for place in order]
    return Pictures(pictures.images[order], pictures.labels[order], splits, pictures.label_names)


def write_folders(pictures: Pictures, folder: Path) -> list[str]:
    """Writes ``SPLIT/CLASS/NUMBER.png``; returns the path of each below `folder`, its id."""
    names = []
    for number, (image, label, split) in enumerate(
        zip(pictures.images, pictures.labels, pictures.splits, strict=True)
    ):
        name = f"{split}/{pictures.label_names[label]}/{number:06}.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_png(Image.fromarray(image)))
        names.append(name)
    return names


def as_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
