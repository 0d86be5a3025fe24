"""The days of a month: their pictures, and the settings of the pipeline that they come to.

Real pictures of a CIFAR archive come day by day. Shares of classes are stable for 20 days, but for
a new class on day 15. Then three kinds of shift follow one another: shares, levels, content.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.data import Pictures, as_png, load_pictures
from inception_finetune.components import features
from inception_finetune.pipeline.config import load_config

DAYS: Final = 30
MONTH: Final = "2026-11"
NEW_CLASS_DAY: Final = 15
# First day of each kind of shift; it lasts until the next begins.
SHIFTS: Final = {"shares of classes": 21, "levels": 24, "content": 27}


class Month(NamedTuple):
    """What all measurements have in common."""

    archive: str  # CIFAR-10, or a path in its form
    backbone: str  # a handle
    per_day: int  # pictures of each day
    golden: int  # test pictures
    overrides: Sequence[str]  # further ones of the preset `cifar10`


class Given(NamedTuple):
    """What a measurement is given."""

    pictures: Pictures  # of the archive; the last class is the new one
    per_day: int  # pictures of each day
    place: Path  # folder that the days and their pipeline have for themselves
    overrides: list[str]  # of the preset `cifar10`

    def write_day(self, day: int, random: np.random.Generator, *, like: int | None = None) -> None:
        """Writes the pictures of a day, drawn as those of the day `like` are."""
        drawn = day_of(self.pictures, like or day, self.per_day, random)
        write_pictures(drawn, self.place / f"days/{MONTH}-{day:02}")


def prepare(month: Month, output: Path, name: str) -> Given:
    """Makes the folder of a measurement; the golden set is made once.

    Args:
      month: what all have in common.
      output: folder of all measurements, which share the golden set and the cache.
      name: of the measurement's own folder, which must not be there.
    """
    made = given(month, output, name)
    if not (output / "golden").is_dir():
        is_test = np.flatnonzero(np.array(made.pictures.splits) == features.TEST)
        tested = np.random.default_rng(4).permutation(is_test)[: month.golden]
        splits = [features.TEST] * len(tested)
        chosen = made.pictures.images[tested], made.pictures.labels[tested], splits
        write_pictures(Pictures(*chosen, made.pictures.label_names), output / "golden")
    (made.place / "days").mkdir(parents=True)
    return made


def given(month: Month, output: Path, name: str) -> Given:
    """What a measurement is given, or was before."""
    pictures = load_pictures(load_config("cifar10", [f"dataset.archive={month.archive}"]))
    place = output / name
    return Given(pictures, month.per_day, place, settings(month, place))


def settings(month: Month, place: Path) -> list[str]:
    """Returns the overrides of a month below `place`."""
    return [
        *(f"root={place / 'root'}", f"cache={place.parent / 'cache'}"),
        f"backbone.handle={month.backbone}",
        f"dataset.spans={place}/days/{{YYYY}}-{{MM}}-{{DD}}",
        *(f"dataset.golden={place.parent / 'golden'}", "dataset.window=10", "dataset.min_spans=7"),
        *("dataset.validation_fraction=0.3", "dataset.on_leakage=skip"),
        *("image.size=75", "image.views=[identity]", "backbone.trainable_from=Mixed_6d"),
        *("training.epochs=3", "training.learning_rate=0.0005", "training.start_from=blessed"),
        *("gate.min_accuracy=0", "infra.server=none"),
        *(f"watch.new_pictures={6 * month.per_day}", "watch.cool_down=2"),
        *month.overrides,
    ]


def day_of(pictures: Pictures, day: int, count: int, random: np.random.Generator) -> Pictures:
    """Draws the pictures of a day from the train pictures, shifted as that day is.

    Args:
      pictures: of the archive; its last class is the new one.
      day: from 1 on.
      count: of pictures.
      random: draws them.
    """
    classes = len(pictures.label_names)
    shares = np.ones(classes)
    if day < NEW_CLASS_DAY:
        shares[-1] = 0
    kind = next((name for name, first in reversed(SHIFTS.items()) if day >= first), "")
    if kind == "shares of classes":
        shares[: classes // 2] *= 4
    labels = random.choice(classes, count, p=shares / shares.sum())
    is_train = np.array(pictures.splits) == features.TRAIN
    drawn = np.array(
        [random.choice(np.flatnonzero(is_train & (pictures.labels == label))) for label in labels]
    )
    images = pictures.images[drawn]
    if kind == "levels":
        images = (images * 0.6).astype(np.uint8)  # darker, and flatter
    elif kind == "content":
        images = images[:, ::-1, ::-1]  # upside down
    return Pictures(images, labels, [features.TRAIN] * count, pictures.label_names)


def write_pictures(pictures: Pictures, folder: Path) -> None:
    """Writes ``CLASS/NUMBER.png``; the folder has its name when it is whole."""
    scratch = folder.with_name(f"{folder.name}.part")
    for number, (image, label) in enumerate(zip(pictures.images, pictures.labels, strict=True)):
        path = scratch / pictures.label_names[label] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_png(Image.fromarray(image)))
    scratch.rename(folder)
