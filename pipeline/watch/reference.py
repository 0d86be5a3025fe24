"""What the model in service was trained on, measured once and kept for all looks at it."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from inception_finetune.components import features
from inception_finetune.components.dataset.class_counts import class_counts
from inception_finetune.components.dataset.spans import StoredSpan
from inception_finetune.components.drift import pictures, records
from inception_finetune.components.drift.look import Measured
from inception_finetune.components.drift.settings import Drift
from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.label_names import read_label_names
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.progress import progress
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.outcome import latest_pushed
from inception_finetune.pipeline.history.rollback import as_pushed
from inception_finetune.pipeline.history.runs import Run, newest_runs
from inception_finetune.trainer.embedding import Embedder, UnknownNetworkError

FOLDER: Final = "watch"  # below the pipeline's root


@dataclass(frozen=True)
class ModelInService:
    """The newest pushed model, and the run that has made it."""

    version: str  # as it was pushed; a rollback gives it another number, and no other life
    directory: Path  # of the SavedModel
    run: Run

    @cached_property
    def embedder(self) -> Embedder:
        """How it sees pictures, loaded once for all that a pass looks at.

        Raises:
          UnknownNetworkError: it is of an older version, and does not say it.
        """
        return Embedder(self.directory)


def find_model(config: Config) -> ModelInService | None:
    """Finds the model in service; None where nothing was pushed yet.

    Raises:
      UserError: no run of the pipeline has pushed it.
    """
    newest = latest_pushed(config)
    if newest is None:
        return None
    version = as_pushed(config, newest).name
    for run in newest_runs(config):
        if run.pushed_as and run.pushed_as.name == version:
            return ModelInService(version, newest, run)
    raise UserError(
        f"Model {newest} of {config.name} is in service, and no run in its metadata has pushed it. "
        "Restore metadata.sqlite, or move that version away."
    )


def read_reference(config: Config, model: ModelInService) -> Measured:
    """Measures what the model was trained on, or reads what was measured of it.

    Labels and picture statistics are those of train. What the model sees is of validation pictures:
    it may know the train pictures by heart, and unchanged new ones would look different to it.

    Raises:
      UserError: what its run was made of is gone.
    """
    settings = config.drift
    file = (
        Path(config.root).resolve()
        / FOLDER
        / f"reference-{model.version}-{settings.sample}-{settings.seed}.npz"
    )
    if stored := _load(file):
        return stored
    measured = _measure_reference(config, model)
    with whole_file(file) as temporary, temporary.open("wb") as opened:
        none = np.zeros([0, 0], np.float32)
        np.savez(
            opened,
            labels=measured.labels,
            statistics=measured.statistics,
            embeddings=none if measured.embeddings is None else measured.embeddings,
        )
    for other in file.parent.glob("reference-*.npz"):
        if other != file:
            other.unlink()
    return measured


def _load(file: Path) -> Measured | None:
    """Reads what was measured; None where it is not stored whole."""
    try:
        with np.load(file) as stored:
            return Measured(
                labels=stored["labels"],
                statistics=stored["statistics"],
                embeddings=stored["embeddings"] if stored["embeddings"].size else None,
            )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def measure_span(span: StoredSpan, model: ModelInService, settings: Drift) -> Measured:
    """Measures a stored span: all of its labels, and a sample of its pictures.

    Args:
      span: of at least one picture.
      model: by whose eyes and classes.
      settings: how many pictures are looked at.
    """
    names = read_label_names(model.directory)
    numbers = {name: number for number, name in enumerate(names)}
    counts, unknown = np.zeros(len(names), np.int64), dict[str, int]()
    for one in span.pictures:
        if one.label_name in numbers:
            counts[numbers[one.label_name]] += 1
        else:
            unknown[one.label_name] = unknown.get(one.label_name, 0) + 1
    count = len(span.pictures)
    random = np.random.default_rng(seed_of(settings.seed, span.name, span.fingerprint))
    chosen = random.choice(count, min(count, settings.sample), replace=False)
    encoded = []
    for place in np.sort(chosen):
        location = span.pictures[place].location
        with Path(location.path).open("rb") as file:
            file.seek(location.offset)
            encoded.append(file.read(location.length))
    statistics, embeddings = _see(encoded, encoded, model)
    return Measured(counts, statistics, embeddings, unknown)


def seed_of(*parts: object) -> int:
    """Returns a seed that is the same for the same parts, so that a repeated look is the same."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _measure_reference(config: Config, model: ModelInService) -> Measured:
    import tensorflow_data_validation as tfdv

    run, settings = model.run, config.drift
    try:
        statistics = run.uri(Step.STATISTICS_GEN, "statistics")
        examples = Path(run.uri(Step.EXAMPLE_GEN, "examples"))
    except UserError as error:
        raise UserError(
            f"Model {model.version} of {config.name} has nothing that new spans could be compared "
            f"with: what run {run.number} was made of was removed, by `data forget`, `clean` or by "
            "hand. Run `inception-finetune run` with the same --config."
        ) from error
    counted = tfdv.load_stats_binary(f"{statistics}/Split-{features.TRAIN}/FeatureStats.pb")
    labels = class_counts(counted.datasets[0], len(read_label_names(model.directory)))
    with progress("Reading", total=None, unit="records") as advance:
        train, validation = (
            records.encoded_pictures(
                records.sample_records(
                    records.record_files([examples / f"Split-{split}"]),
                    settings.sample,
                    settings.seed,
                    advance,
                ).serialized
            )
            for split in (features.TRAIN, features.VALIDATION)
        )
    return Measured(labels, *_see(train, validation, model))


def _see(
    measured: list[bytes], embedded: list[bytes], model: ModelInService
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32] | None]:
    """Returns statistics of the first pictures, and the model's view of the second."""
    with progress("Measuring", len(measured), "pictures") as advance:
        statistics = pictures.measure(measured, advance).statistics
    try:
        with progress("Embedding", len(embedded), "pictures") as advance:
            return statistics, model.embedder.embed(embedded, advance)
    except UnknownNetworkError:  # the rest is compared
        return statistics, None
