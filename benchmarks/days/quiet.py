"""Months in which nothing changes: how many of them raise an alarm."""

import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.data import as_png
from benchmarks.days.pictures import DAYS, Given
from inception_finetune.components import features
from inception_finetune.pipeline.config import Config, load_config

_PICTURES: Final = 8000  # that quiet months draw from


def measure_quiet(given: Given, months: int) -> dict[str, Any]:
    """Months in which nothing changes, on what the first model of the month sees; none trains.

    The pictures are measured once. Each month draws a sample that the model would be
    compared with, and its days from the rest.
    """
    from inception_finetune.components.drift.look import take_look

    config = load_config("cifar10", given.overrides)
    measured = _measure_all(given, config)
    count = len(measured["labels"])
    classes = int(measured["labels"].max()) + 1
    reference_size, alarms, begun = given.per_day * 7, [], time.monotonic()
    for number in range(months):
        random = np.random.default_rng([2, number])
        order = random.permutation(count)
        train, validation, rest = np.split(order, [reference_size, reference_size * 3 // 2])
        reference = _measured(measured, train, classes, validation)
        for day in range(1, DAYS + 1):
            look = take_look(
                reference,
                _measured(measured, random.choice(rest, given.per_day, replace=False), classes),
                day,
                false_alarm=config.watch.false_alarm,
                permutations=config.watch.permutations,
                allowed_shift=config.drift.label_shift,
                seed=number * DAYS + day,
            )
            if look.alarms:
                alarms.append({"month": number, "day": day, "tests": list(look.alarms)})
                break
        if number % 20 == 0:
            print(f"{number} of {months} quiet months, {len(alarms)} alarms", flush=True)
    seconds = (time.monotonic() - begun) / max(1, months * DAYS)
    share = len(alarms) / months
    return {"months": months, "alarms": alarms, "share": share, "seconds a look": seconds}


def _measure_all(given: Given, config: Config) -> dict[str, npt.NDArray[Any]]:
    """What a look measures of each train picture, once."""
    from inception_finetune.components.drift import pictures as drift_pictures
    from inception_finetune.components.progress import progress
    from inception_finetune.pipeline.watch.reference import find_model
    from inception_finetune.trainer.embedding import Embedder

    file = given.place / "measured.npz"
    if not file.is_file():
        pictures = given.pictures
        model = find_model(config)
        assert model is not None
        taken = np.flatnonzero(np.array(pictures.splits) == features.TRAIN)[:_PICTURES]
        encoded = [as_png(Image.fromarray(pictures.images[index])) for index in taken]
        with progress("Measuring", len(encoded), "pictures") as advance:
            seen = drift_pictures.measure(encoded, advance).statistics
        with progress("Embedding", len(encoded), "pictures") as advance:
            embeddings = Embedder(model.directory).embed(encoded, advance)
        np.savez(file, labels=pictures.labels[taken], statistics=seen, embeddings=embeddings)
    with np.load(file) as stored:
        return {name: stored[name] for name in stored}


def _measured(
    measured: Mapping[str, npt.NDArray[Any]],
    chosen: npt.NDArray[np.int64],
    classes: int,
    embedded: npt.NDArray[np.int64] | None = None,
) -> Any:
    from inception_finetune.components.drift.look import Measured

    return Measured(
        labels=np.bincount(measured["labels"][chosen], minlength=classes),
        statistics=measured["statistics"][chosen],
        embeddings=measured["embeddings"][chosen if embedded is None else embedded],
    )
