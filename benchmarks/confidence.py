"""``python -m benchmarks.confidence``: whether a pushed model knows how sure its answers may be.

On the test pictures of its own run: the calibration error before and after the temperature, how
often prediction sets hold the truth, and how well the distance tells pictures of other things from
those of the classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy import special, stats
from sklearn.datasets import load_digits, load_sample_images
from sklearn.metrics import roc_auc_score

from benchmarks.data import as_png
from inception_finetune.components import features
from inception_finetune.components.drift.records import read_records, record_files
from inception_finetune.components.evaluation.confidence import (
    FittedConfidence,
    prediction_sets,
    smallest_in_set,
)
from inception_finetune.components.evaluation.measures import calibration
from inception_finetune.components.io.pushed_model import SIGNATURE, PushedModel
from inception_finetune.components.progress import progress
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.cli.options import load_tensorflow
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.history.model_run import run_of
from inception_finetune.pipeline.history.outcome import latest_pushed

_COVERAGES: Final = (0.8, 0.9, 0.95, 0.99)
_SPLIT_AT: Final = 0.9  # coverage that random splits ask for
_BY_CHANCE: Final = 0.999  # of the splits lie within the bounds
_OTHERS: Final = 900  # pictures of each other thing
_SIDE: Final = 32  # of these, in pixels
_CHUNK: Final = 64


class Answers(NamedTuple):
    """What the model says of N pictures."""

    probabilities: npt.NDArray[np.float64]  # [N, classes]
    distances: npt.NDArray[np.float64]  # [N], in [0, 1]
    unknown: npt.NDArray[np.bool_]  # [N]
    labels: npt.NDArray[np.int64]  # [N], the truth; -1 where it is none of the classes

    @property
    def of_truth(self) -> npt.NDArray[np.float64]:
        return self.probabilities[np.arange(len(self.labels)), self.labels]


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE settings.")] = None,
    config: Annotated[str, typer.Option(help="Preset or YAML file.")] = "cifar10",
    model: Annotated[
        Path | None, typer.Option(help="A pushed model; default: the newest pushed one.")
    ] = None,
    splits: Annotated[int, typer.Option(help="Random splits of validation and test.")] = 20,
) -> None:
    """Calibration error, coverage of prediction sets, and the ROC curve of unknown pictures."""
    load_tensorflow(False)
    chosen = load_config(config, overrides or ())
    place = model or latest_pushed(chosen)
    if place is None:
        raise typer.BadParameter(f"no model is pushed in {chosen.root}")
    pushed = PushedModel(place)
    extra = place / features.EXTRA_ASSETS / features.CONFIDENCE_FILE
    fitted = FittedConfidence.model_validate_json(extra.read_bytes())
    examples = Path(run_of(chosen, place).uri(Step.EXAMPLE_GEN, "examples"))
    validation, test = (
        _ask(pushed, *_stored(examples, split)) for split in (features.VALIDATION, features.TEST)
    )
    console = Console()
    console.print(_calibration_table(test, fitted.temperature))
    console.print(_coverage_table(validation, test))
    console.print(_splits_line(validation, test, splits), highlight=False)
    others = {name: _ask(pushed, pictures) for name, pictures in _other_pictures()}
    console.print(_unknown_table(test, others))


def _stored(examples: Path, split: str) -> tuple[list[bytes], list[int]]:
    """The pictures and labels of a split."""
    pictures, labels = [], []
    for file in record_files([examples / f"Split-{split}"]):
        for record in read_records(file):
            feature = tf.train.Example.FromString(record).features.feature
            pictures.append(feature[features.IMAGE_ENCODED].bytes_list.value[0])
            labels.append(feature[features.LABEL].int64_list.value[0])
    return pictures, labels


def _other_pictures() -> Iterator[tuple[str, list[bytes]]]:
    """Yields pictures of other things with their name."""
    random = np.random.default_rng(0)
    digits = load_digits().images[:_OTHERS]
    yield (
        "handwritten digits of scikit-learn",
        [
            as_png(Image.fromarray((digit * 15.9).astype(np.uint8)).convert("RGB"))
            for digit in digits
        ],
    )
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    crops = []
    for _ in range(_OTHERS):
        photograph = photographs[random.integers(len(photographs))]
        side = int(random.integers(48, 200))
        left, top = (int(random.integers(whole - side)) for whole in photograph.size)
        crop = photograph.crop((left, top, left + side, top + side))
        crops.append(as_png(crop.resize((_SIDE, _SIDE))))
    yield "crops of scikit-learn's two photographs", crops
    noise = random.integers(0, 256, (_OTHERS, _SIDE, _SIDE, 3), np.uint8)
    yield "noise", [as_png(Image.fromarray(image)) for image in noise]


def _ask(model: PushedModel, pictures: Sequence[bytes], labels: Sequence[int] = ()) -> Answers:
    """Asks the model; all that it says of its answers must be fitted."""
    signature: Any = model.loaded.signatures[SIGNATURE]
    parts: list[list[npt.NDArray[Any]]] = []
    with progress("Asking", len(pictures), "pictures") as advance:
        for start in range(0, len(pictures), _CHUNK):
            chunk = pictures[start : start + _CHUNK]
            said = signature(images=tf.constant(chunk))
            keys = (features.PROBABILITIES, features.DISTANCE, features.UNKNOWN)
            parts.append([said[key].numpy() for key in keys])
            advance(len(chunk))
    probabilities, distances, unknown = map(np.concatenate, zip(*parts, strict=True))
    return Answers(
        probabilities.astype(np.float64),
        distances.astype(np.float64),
        unknown,
        np.array(labels or [-1] * len(pictures)),
    )


def _calibration_table(test: Answers, temperature: float) -> Table:
    table = Table(title=f"{len(test.labels):,} test pictures, temperature {temperature:.3f}")
    for column in ("", "accuracy", "calibration error"):
        table.add_column(column, justify="right" if column else "left")
    # With one served view, the logarithms are the logits that were divided, up to a constant.
    logits = np.log(np.maximum(test.probabilities, np.finfo(np.float32).tiny))
    before = special.softmax(logits * temperature, axis=1)
    for name, shares in (("before", before), ("after", test.probabilities)):
        hits = shares.argmax(axis=1) == test.labels
        error = calibration(shares.max(axis=1), hits).expected_error
        table.add_row(name, f"{hits.mean():.4f}", f"{error:.4f}")
    return table


def _coverage_table(validation: Answers, test: Answers) -> Table:
    table = Table(title="prediction sets, fitted on validation")
    for column in ("asked", "hold the truth", "classes in a set"):
        table.add_column(column, justify="right")
    for coverage in _COVERAGES:
        held, size = _held(validation.of_truth, test.probabilities, test.labels, coverage)
        table.add_row(f"{coverage:.2f}", f"{held:.4f}", f"{size:.3f}")
    return table


def _held(
    of_truth: npt.NDArray[np.float64],
    probabilities: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    asked: float,
) -> tuple[float, float]:
    """How many of the sets hold the truth, and how many classes a set has."""
    sets = prediction_sets(probabilities, smallest_in_set(of_truth, asked))
    return float(sets[np.arange(len(sets)), labels].mean()), float(sets.sum(axis=1).mean())


def _splits_line(validation: Answers, test: Answers, splits: int) -> str:
    """Random divisions of all pictures into as many to fit and to ask as there were.

    Of m new pictures, those whose truth a set of n fitted ones holds are beta-binomial:
    Angelopoulos and Bates, "A Gentle Introduction to Conformal Prediction" (2021), appendix C.
    """
    probabilities = np.concatenate([validation.probabilities, test.probabilities])
    labels = np.concatenate([validation.labels, test.labels])
    of_truth = np.concatenate([validation.of_truth, test.of_truth])
    fitted, asked = len(validation.labels), len(test.labels)
    held = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(labels))
        new = order[fitted:]
        held.append(_held(of_truth[order[:fitted]], probabilities[new], labels[new], _SPLIT_AT)[0])
    place = np.ceil((fitted + 1) * _SPLIT_AT)
    low, high = stats.betabinom(asked, place, fitted + 1 - place).interval(_BY_CHANCE)
    inside = sum(low <= round(share * asked) <= high for share in held)
    return (
        f"{splits} random splits at {_SPLIT_AT}: {min(held):.4f} to {max(held):.4f}, mean "
        f"{np.mean(held):.4f}; {inside} of them in {low / asked:.4f} to {high / asked:.4f}, as "
        f"{_BY_CHANCE:.1%} are by chance"
    )


def _unknown_table(test: Answers, others: Mapping[str, Answers]) -> Table:
    table = Table(title="pictures of other things, by distance")
    for column in ("pictures", "number", "area under ROC curve", "called unknown"):
        table.add_column(column, justify="left" if column == "pictures" else "right")
    table.add_row("test", f"{len(test.labels):,}", "", f"{test.unknown.mean():.3f}")
    for name, other in others.items():
        is_other = np.repeat([0, 1], [len(test.labels), len(other.labels)])
        area = roc_auc_score(is_other, np.concatenate([test.distances, other.distances]))
        table.add_row(name, f"{len(other.labels):,}", f"{area:.3f}", f"{other.unknown.mean():.3f}")
    return table


if __name__ == "__main__":
    typer.run(main)
