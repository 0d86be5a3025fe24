"""A source with a person's corrections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.corrections import REMOVED, Corrections
from inception_finetune.components.dataset.source import Pictures, Source


@dataclass(frozen=True)
class CorrectedSource:
    """The same examples with other labels; those that are removed are among the skipped."""

    source: Source
    corrections: Corrections

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.source.label_names

    @property
    def fingerprint(self) -> str:
        """A hash that changes with any image, label, name or correction."""
        return self.corrections.fingerprint(self.source.fingerprint)

    @property
    def ids(self) -> Sequence[str]:
        """[N] unique ids."""
        return self.source.ids

    @property
    def splits(self) -> npt.NDArray[np.str_]:
        """[N] str."""
        return self.source.splits

    @property
    def digests(self) -> Sequence[bytes]:
        """[N] hashes, equal where images show the same."""
        return self.source.digests

    @cached_property
    def _corrected(self) -> dict[int, int | None]:
        """The new label by index, None where the image is removed."""
        names = self.label_names
        return {
            index: self.corrections.label(identity, int(self.source.labels[index]), names)
            for index, identity in enumerate(self.ids)
            if self.corrections.concern(identity)
        }

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """[N] int64."""
        labels = self.source.labels.copy()
        for index, label in self._corrected.items():
            if label is not None:
                labels[index] = label
        return labels

    @cached_property
    def skipped(self) -> Mapping[str, str]:
        """The reason for each example that is not to be written, by id."""
        removed = {
            self.ids[index]: REMOVED for index, label in self._corrected.items() if label is None
        }
        return {**self.source.skipped, **removed}

    @cached_property
    def corrected(self) -> dict[str, str]:
        """What was done to each corrected example, by id.

        Raises:
          UserError: a correction is of no example.
        """
        names, labels = self.label_names, self.source.labels
        done = {
            self.ids[index]: self.corrections.described(
                self.ids[index], int(labels[index]), label, names
            )
            for index, label in self._corrected.items()
        }
        self.corrections.require_met(done)
        return done

    def pictures(self, indices: npt.NDArray[np.int64]) -> Pictures:
        """Returns the images of these indices."""
        return self.source.pictures(indices)
