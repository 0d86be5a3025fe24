"""What `robustness` does: asks the pushed model, and the one before, about corrupted pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image
from rich.console import Console
from rich.table import Table

from inception_finetune.components import features
from inception_finetune.components.drift.records import record_files, sample_records
from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.label_names import places, why_incomparable
from inception_finetune.components.evaluation.measures import Comparison
from inception_finetune.components.image.corruptions import CORRUPTIONS, STRENGTHS
from inception_finetune.components.image.decoding_without_tensorflow import decode
from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.components.io.whole_file import require_writable, whole_file
from inception_finetune.components.progress import progress
from inception_finetune.components.robustness import page
from inception_finetune.components.robustness.measure import (
    LabelledPicture,
    Model,
    Robustness,
    measure,
)
from inception_finetune.components.shown_text import plain
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.model_run import run_of
from inception_finetune.pipeline.history.rollback import as_pushed
from inception_finetune.pipeline.inputs import serving_directory

FOLDER: Final = "robustness"  # below the root
PAGE: Final = "robustness.html"
FACTS: Final = "robustness.json"
_LARGEST: Final = 512  # pixels of a longer side; larger pictures are made smaller first


class Measured(NamedTuple):
    """The accuracies, and where they were written."""

    found: Robustness
    folder: Path


def measure_robustness(
    config: Config, model: Path, other: Path | None, folder: Path | None, count: int, seed: int
) -> Measured:
    """Measures a model on corrupted test pictures of its own run.

    Args:
      config: of the pipeline.
      model: folder of the model.
      other: folder of the model that it is compared with; by default the version before it.
      folder: receives page and facts; by default below the root.
      count: test pictures that are drawn, or all if they are fewer.
      seed: of the drawing and of the corruptions.

    Raises:
      UserError: a model or the pictures are missing, a model does not answer, there are fewer than
        two pictures, or nothing can be written.
    """
    folder = folder or Path(config.root) / FOLDER
    require_writable(folder)
    pushed = PushedModel(model)
    pictures = _drawn(config, model, count, seed)
    models, reason = [_answers(pushed, pushed.label_names)], None
    other = other or _version_before(config, model)
    if other is None:
        reason = "no version was pushed before it"
    elif why := why_incomparable(model, other):
        other, reason = None, why.replace("last blessed model", f"model in {other}")
    else:
        models.append(_answers(PushedModel(other), pushed.label_names))
    total = len(pictures) * (1 + len(CORRUPTIONS) * len(STRENGTHS))
    with progress("Asking about corrupted pictures", total, "images") as advance:
        found = measure(
            pictures,
            models,
            {
                "name": config.name,
                "model": str(model),
                "other": None if other is None else str(other),
                "not_compared": reason,
            },
            seed=seed,
            advance=advance,
        )
    sample = pictures[0]
    contents = {
        PAGE: page.render(found, sample, pushed.label_names[sample.label]),
        FACTS: found.model_dump_json(indent=2),
    }
    for file, text in contents.items():
        with whole_file(folder / file) as temporary:
            temporary.write_text(text, "utf-8")
    return Measured(found, folder)


def _version_before(config: Config, model: Path) -> Path | None:
    """The newest whole version that was pushed before this one; None where it is none of them.

    One that a rollback has put into service again was pushed when it was for the first time: later
    models may have been trained on the pictures that it is tested with.
    """
    versions = {
        int(path.parent.name): path.parent
        for path in serving_directory(config).glob("*/saved_model.pb")
        if path.parent.name.isdigit()
    }
    place = as_pushed(config, model)
    if place.parent != serving_directory(config) or not place.name.isdigit():
        return None
    return versions.get(max((one for one in versions if one < int(place.name)), default=-1))


def _drawn(config: Config, model: Path, count: int, seed: int) -> list[LabelledPicture]:
    examples = Path(run_of(config, model).uri(Step.EXAMPLE_GEN, "examples"))
    files = record_files([examples / f"Split-{features.TEST}"])
    with progress("Reading test pictures", total=None, unit="records") as advance:
        serialized = sample_records(files, count, seed, advance).serialized
    if len(serialized) < 2:
        raise UserError(
            f"{len(serialized)} test picture in {examples}, and an interval needs two or more. "
            "Give the data set a larger test split."
        )
    return [_picture(one) for one in serialized]


def _picture(serialized: bytes) -> LabelledPicture:
    feature = tf.train.Example.FromString(serialized).features.feature
    image = Image.fromarray(decode(feature[features.IMAGE_ENCODED].bytes_list.value[0]))
    image.thumbnail((_LARGEST, _LARGEST))
    return LabelledPicture(
        feature[features.IMAGE_ID].bytes_list.value[0].decode(errors="replace"),
        np.asarray(image),
        feature[features.LABEL].int64_list.value[0],
    )


def _answers(model: PushedModel, label_names: Sequence[str]) -> Model:
    order = places(label_names, model.label_names)

    def classes(encoded: Sequence[bytes]) -> npt.NDArray[np.int64]:
        return np.asarray(model.answer(encoded).shares[:, order].argmax(axis=1))

    return classes


def print_robustness(measured: Measured, console: Console) -> None:
    """Prints a row for each corruption, the mean, and where the page is; fits 80 columns."""
    found = measured.found
    table = Table(title=f"accuracy on {found.clean.images:,} test pictures", title_justify="left")
    table.add_column("corruption")
    for strength in STRENGTHS:
        table.add_column(f"strength {strength}", justify="right")
    table.add_row(
        "none", f"{found.clean.value:.3f}{_change(found.clean.value, found.clean_compared)}"
    )
    for name, cells in found.rows():
        table.add_row(
            CORRUPTIONS[name].title,
            *(
                f"{cell.accuracy.value:.3f}{_change(cell.accuracy.value, cell.compared)}"
                for cell in cells
            ),
        )
    console.print(table)
    mean = found.mean
    console.print(f"mean: {mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})", highlight=False)
    if change := found.mean_change:
        console.print(
            plain(
                f"change of it from {found.other}: {change.value:+.3f} ({change.low:+.3f} to "
                f"{change.high:+.3f})"
            ),
            soft_wrap=True,
        )
    else:
        console.print(plain(f"not compared: {found.not_compared}"), soft_wrap=True)
    console.print(plain(f"page: {measured.folder / PAGE}"), soft_wrap=True)


def _change(accuracy: float, compared: Comparison | None) -> str:
    return f" ({accuracy - compared.accuracy.value:+.3f})" if compared else ""
