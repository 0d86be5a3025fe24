"""Classifies pictures with a pushed model."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.label_names import read_label_names
from inception_finetune.components.features import LABELS_FILE
from inception_finetune.components.progress import progress
from inception_finetune.components.shown_text import plain
from inception_finetune.pipeline.prediction.pictures import Picture, read_pictures

_SIGNATURE: Final = "predict_images"
LIKELIEST: Final = 3  # classes in a row of the table
_BATCH: Final = 64  # pictures that the model is given at a time, and
_BATCH_BYTES: Final = 1 << 26  # where files are large, fewer


@dataclass(frozen=True)
class Prediction:
    """The model's answer to one picture."""

    picture: Picture
    label_names: Sequence[str]
    shares: npt.NDArray[np.float32]  # [classes], the probabilities; all 0 where there is an error
    error: str = ""  # why the picture could not be read

    @property
    def label_id(self) -> int:
        """The most probable class; -1 where the picture could not be read."""
        return -1 if self.error else int(self.shares.argmax())

    @property
    def label_name(self) -> str:
        """Of that class; empty where the picture could not be read."""
        return "" if self.error else self.label_names[self.label_id]

    @property
    def probabilities(self) -> dict[str, float]:
        """By label name, in the order of the ids."""
        return dict(zip(self.label_names, self.shares.tolist(), strict=True))

    @property
    def right(self) -> bool | None:
        """None where the truth is not known, or the picture could not be read."""
        if self.picture.truth is None or self.error:
            return None
        return self.picture.truth == self.label_name

    @property
    def dullness(self) -> tuple[bool, float]:
        """Least for mistakes, the most confident first; then for the least confident."""
        share = float(self.shares.max())
        return (self.right is not False, -share if self.right is False else share)


def predict(
    model_directory: Path, places: Sequence[Path], *, with_bytes: int = 0
) -> list[Prediction]:
    """Runs the signature ``predict_images`` on the pictures in `places`: files, folders, records.

    Pictures are read as the model takes them. One that cannot be read has the model's own words in
    its prediction.

    Args:
      model_directory: the folder of the SavedModel.
      places: PNG, JPEG and TFRecord files, and folders of pictures.
      with_bytes: how many predictions keep their picture's bytes: the least dull ones.

    Raises:
      UserError: no model there that can be loaded, or no pictures.
    """
    names = read_label_names(model_directory)
    pictures = read_pictures(places, names)
    answer = _load(model_directory, len(names))
    predictions: list[Prediction] = []
    kept: list[int] = []
    with progress("Predicting", None, "images") as advance:
        for batch in _batches(pictures):
            found = answer(batch)
            shares = np.asarray(found[features.PROBABILITIES])
            for picture, row, error in zip(
                batch, shares, found[features.ERROR].numpy(), strict=True
            ):
                reason = picture.error or error.decode()
                if not reason:
                    kept.append(len(predictions))
                else:
                    picture = replace(picture, encoded=b"")
                predictions.append(Prediction(picture, names, row, reason))
            best = heapq.nsmallest(with_bytes, kept, key=lambda i: predictions[i].dullness)
            for place in set(kept) - set(best):
                one = predictions[place]
                predictions[place] = replace(one, picture=replace(one.picture, encoded=b""))
            kept = best
            advance(len(batch))
    return predictions


def _load(directory: Path, classes: int) -> Callable[[Sequence[Picture]], Any]:
    """What answers a list of pictures; it must answer with that number of classes."""
    import tensorflow as tf

    from inception_finetune.components.io.exported_model import in_short, load_exported

    signature = load_exported(directory).signatures.get(_SIGNATURE)
    outputs = signature.structured_outputs if signature else {}
    if not {features.PROBABILITIES, features.ERROR} <= outputs.keys():
        raise UserError(
            f"Model {directory} has no signature {_SIGNATURE} that gives "
            f"{features.PROBABILITIES} and {features.ERROR}. Give a model that the pipeline pushed."
        )

    def answer(batch: Sequence[Picture]) -> Any:
        try:
            found = signature(images=tf.constant([picture.encoded for picture in batch]))
        except (tf.errors.OpError, TypeError) as error:
            raise UserError(
                f"Model {directory} does not answer ({in_short(error)}). "
                "Push it again, or give another --model DIR."
            ) from error
        told_apart = found[features.PROBABILITIES].shape[-1]
        if told_apart != classes:
            raise UserError(
                f"Model {directory} tells {told_apart} classes apart, and its {LABELS_FILE} names "
                f"{classes}. Push it again, or give another --model DIR."
            )
        return found

    return answer


def _batches(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    batch: list[Picture] = []
    size = 0
    for picture in pictures:
        batch.append(picture)
        size += len(picture.encoded)
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def print_predictions(predictions: Sequence[Prediction], console: Console) -> None:
    """A table: one row a picture, its label, the truth if known, and the likeliest classes."""
    results = [prediction.right for prediction in predictions if prediction.right is not None]
    table = Table()
    table.add_column("image", overflow="fold")
    table.add_column("label")
    if results:
        table.add_column("truth")
    table.add_column("probabilities")
    for prediction in predictions:
        wrong = prediction.right is False
        truth = plain(prediction.picture.truth or "", style="red" if wrong else "")
        if prediction.error:
            label, last = plain("not read", style="red"), plain(prediction.error)
        else:
            label = plain(f"{prediction.label_id} {prediction.label_name}")
            ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
            last = plain(", ".join(f"{name} {share:.3f}" for name, share in ranked[:LIKELIEST]))
        cells = [plain(prediction.picture.name), label]
        if results:
            cells.append(truth)
        table.add_row(*cells, last)
    console.print(table)
    if results:
        console.print(f"{sum(results):,} of {len(results):,} right", highlight=False)


def unread_line(predictions: Sequence[Prediction]) -> str:
    """How many pictures could not be read, with the first of them; empty if all could."""
    unread = [prediction for prediction in predictions if prediction.error]
    if not unread:
        return ""
    first = unread[0]
    return (
        f"{len(unread):,} of {len(predictions):,} pictures could not be read, such as "
        f"{first.picture.name} ({first.error}); replace them or leave them out"
    )
