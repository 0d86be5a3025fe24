"""`predict` on a Beam engine: each worker reads and classifies its share of the pictures."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from pyarrow import parquet

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.beam_options import Beam, pipeline_arguments, step_arguments
from inception_finetune.pipeline.failure import as_user_error
from inception_finetune.pipeline.prediction.addresses import PictureFile
from inception_finetune.pipeline.prediction.pictures import read_pictures
from inception_finetune.pipeline.prediction.predict import Model, Summary, predict
from inception_finetune.pipeline.prediction.rows import (
    ERROR,
    PICTURE,
    TRUTH,
    parquet_schema,
    row_of,
    utf8_row,
)

_BATCH: Final = 64  # files that a worker is given at a time


class PictureClassifier(ModelHandler[str, dict[str, Any], PushedModel]):
    """Reads pictures where they are classified, so that no engine has to move their bytes."""

    def __init__(self, directory: Path, top: int) -> None:
        """Names the model.

        Args:
          directory: the folder of the SavedModel, which all workers see.
          top: classes in a row.
        """
        super().__init__(max_batch_size=_BATCH)
        self._directory = directory
        self._top = top

    def load_model(self) -> PushedModel:
        """Loads the model, once in a worker."""
        return PushedModel(self._directory)

    def run_inference(
        self, batch: Sequence[str], model: PushedModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[dict[str, Any]]:
        """Returns the rows of a batch of files, each a `PictureFile` as JSON."""
        files = (PictureFile(*json.loads(line)) for line in batch)
        for predictions in predict(model, read_pictures(files, model.label_names)):
            yield from (utf8_row(row_of(one, self._top)) for one in predictions)


def predict_on_beam(
    files: Iterable[PictureFile], model: Model, target: Path, *, top: int, settings: Beam
) -> Summary:
    """Writes the rows of all pictures as shards of Parquet, in no order.

    Args:
      files: pictures and TFRecord files, which all workers see.
      model: the pushed model, whose folder all workers see.
      target: a folder that is not there yet, in one that all workers see. It is there whole or not
        at all.
      top: classes in a row.
      settings: the engine.

    Returns:
      What was counted in the shards.

    Raises:
      UserError: `target` is there or cannot be written, a worker fails, or rows are missing.
    """
    target = target.resolve()
    if target.exists():
        raise UserError(f"{target} is there already. Give another --output DIR, or remove it.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(f".{target.name}-", target.parent) as scratch:
            listing, fresh = scratch / "listing.jsonl", scratch / "rows"
            listed, records = _write_listing(files, listing)
            fresh.mkdir()
            with as_user_error():
                _run(listing, fresh, model.directory.resolve(), top, settings)
            summary = _count(fresh)
            if summary.total < listed or (summary.total > listed and not records):
                raise UserError(
                    f"{listed:,} files are listed, and {summary.total:,} rows were written: the "
                    "engine lost or doubled some. Run again."
                )
            fresh.rename(target)
    except OSError as error:
        raise UserError(f"Cannot write {target}: {error}. Give another --output DIR.") from error
    return summary


def _write_listing(files: Iterable[PictureFile], listing: Path) -> tuple[int, int]:
    """Returns how many files there are, and how many of them hold records."""
    count = records = 0
    with listing.open("w", encoding="utf-8") as lines:
        for file in files:
            if not file.is_remote:
                file = PictureFile(file.name, str(Path(file.location).absolute()))
            lines.write(json.dumps(file) + "\n")
            count += 1
            records += file.holds_records
    return count, records


def _run(listing: Path, fresh: Path, model: Path, top: int, settings: Beam) -> None:
    # The engine is asked for what runs the network in the pipeline as well.
    flags = [*pipeline_arguments(settings), *step_arguments(settings, Step.TEST_PREDICTIONS)]
    with beam.Pipeline(options=PipelineOptions(flags)) as root:
        _ = (
            root
            | "Listing" >> beam.Create([str(listing)])
            | "Files" >> beam.FlatMap(_lines)
            | "Spread" >> beam.Reshuffle()
            | "Predict" >> RunInference(PictureClassifier(model, top))
            | "Write"
            >> beam.io.WriteToParquet(
                str(fresh / "rows"), parquet_schema(top), file_name_suffix=".parquet"
            )
        )


def _lines(listing: str) -> Iterator[str]:
    with Path(listing).open(encoding="utf-8") as file:
        yield from file


def _count(folder: Path) -> Summary:
    """Counts what was written, a group of rows at a time."""
    summary = Summary()
    for path in sorted(folder.glob("*.parquet")):
        shard = parquet.ParquetFile(path)
        for rows in shard.iter_batches(columns=[PICTURE, TRUTH, ERROR, "label"]):
            for row in rows.to_pylist():
                summary.count(row[PICTURE], row[TRUTH], row["label"], row[ERROR])
    return summary
