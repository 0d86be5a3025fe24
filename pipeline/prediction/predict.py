"""Classifies pictures with a pushed model, as a stream."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from inception_finetune.components.io.picture_answers import Answers
from inception_finetune.components.shown_text import visible
from inception_finetune.pipeline.prediction.pictures import Picture

if TYPE_CHECKING:
    from pathlib import Path

SHOWN: Final = 48  # pictures that are drawn at most, of those that are kept for that
_BATCH: Final = 64  # pictures that the model is given at a time, and
_BATCH_BYTES: Final = 1 << 26  # where files are large, fewer


class Model(Protocol):
    """A pushed model, or a file that it was exported to."""

    label_names: tuple[str, ...]
    directory: "Path"  # or the file

    def answer(self, encoded: Sequence[bytes]) -> Answers:
        """Classifies N pictures."""


@dataclass(frozen=True)
class Prediction:
    """The model's answer to one picture."""

    picture: Picture
    label_names: Sequence[str]
    shares: npt.NDArray[np.float32]  # [classes], the probabilities; all 0 where there is an error
    error: str = ""  # why the picture could not be read
    # None where the model does not say it, or the picture could not be read.
    prediction_set: tuple[str, ...] | None = None  # names of the classes, by their ids
    unknown: bool | None = None  # whether it is unlike the pictures of the training

    @classmethod
    def of(cls, picture: Picture, names: Sequence[str], answers: Answers, place: int) -> Self:
        """Returns the prediction of one of the pictures that were answered."""
        error = picture.error or answers.errors[place]
        in_set, unknown = answers.in_set, answers.unknown
        members = None
        if in_set is not None and not error:
            members = tuple(name for name, one in zip(names, in_set[place], strict=True) if one)
        return cls(
            picture,
            names,
            answers.shares[place],
            error,
            members,
            None if unknown is None or error else bool(unknown[place]),
        )

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

    def ranked(self, top: int) -> list[tuple[str, np.float32]]:
        """Returns the likeliest classes, `top` of them or all if there are fewer.

        Args:
          top: at least 1.

        Returns:
          Label name and probability, the likeliest first; of equal ones the lower id.
        """
        order = np.argsort(-self.shares, kind="stable")[:top]
        return [(self.label_names[place], self.shares[place]) for place in order]


def predict(model: Model, pictures: Iterable[Picture]) -> Iterator[list[Prediction]]:
    """Classifies a stream of pictures; a batch of them is held in memory.

    Pictures are read as the model takes them. One that cannot be read has the model's own words in
    its prediction.

    Args:
      model: the pushed model, or an exported file.
      pictures: as `read_pictures` yields them.

    Yields:
      Predictions of a batch, in the order of the pictures; those that could be read have their
      bytes.

    Raises:
      UserError: the model does not answer.
    """
    for batch in _batches(pictures):
        answers = model.answer([picture.encoded for picture in batch])
        yield [
            Prediction.of(picture, model.label_names, answers, place)
            for place, picture in enumerate(batch)
        ]


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


@dataclass
class Summary:
    """What is left of predictions when they are written."""

    keep: int = 0  # how many of the least dull ones keep their bytes, to be drawn
    total: int = 0
    known: int = 0  # pictures whose truth is known
    right: int = 0
    unread: int = 0
    first_unread: str = ""
    kept: tuple[Prediction, ...] = ()  # the least dull first

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Counts a batch of predictions."""
        for one in predictions:
            self.count(one.picture.name, one.picture.truth, one.label_name, one.error)
        if self.keep:
            read = [one for one in predictions if not one.error]
            kept = heapq.nsmallest(self.keep, [*self.kept, *read], key=lambda one: one.dullness)
            self.kept = tuple(kept)

    def count(self, name: str, truth: str | None, label: str | None, error: str | None) -> None:
        """Counts one row.

        Args:
          name: of the picture.
          truth: its label, where it is known.
          label: the predicted one.
          error: why it could not be read, if it could not.
        """
        self.total += 1
        if error:
            self.unread += 1
            self.first_unread = self.first_unread or f"{name} ({error})"
        elif truth is not None:
            self.known += 1
            self.right += truth == label

    @property
    def unread_line(self) -> str:
        """How many pictures could not be read, with the first of them; empty if all could."""
        if not self.unread:
            return ""
        return (
            f"{self.unread:,} of {self.total:,} pictures could not be read, such as "
            f"{visible(self.first_unread)}. Replace them or leave them out."
        )

    @property
    def right_line(self) -> str:
        """How many predictions are right; empty where no truth is known."""
        return f"{self.right:,} of {self.known:,} right" if self.known else ""
