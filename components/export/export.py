"""What Export and `export` do: convert a model, measure each file, keep those that pass."""

import io
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inception_finetune.components import features
from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.errors import UserError, in_short
from inception_finetune.components.evaluation.label_names import read_label_names
from inception_finetune.components.export.answers import ask, write_pictures
from inception_finetune.components.export.exported_file import open_exported_file
from inception_finetune.components.export.formats import ExportFormat
from inception_finetune.components.export.gate import Answers, Verdict, judge
from inception_finetune.components.export.metadata import ExportMetadata
from inception_finetune.components.export.pictures import LabelledPictures
from inception_finetune.components.export.record import PUSHED_IN, ExportRecord, Measured
from inception_finetune.components.export.settings import ExportSection
from inception_finetune.components.io.exported_model import load_exported
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.native_output import quiet_native_output
from inception_finetune.components.progress import progress


def export(
    model: Path,
    formats: Sequence[ExportFormat],
    output: Path,
    test: LabelledPictures,
    calibration: Sequence[npt.NDArray[np.uint8]],
    settings: ExportSection,
    *,
    verbose: bool = False,
) -> ExportRecord:
    """Converts a model, and keeps the files that answer the test pictures as it does.

    Args:
      model: folder of the SavedModel.
      formats: to be written.
      output: folder of the files. A file of an earlier export is replaced only by one that passes.
      test: test pictures and their labels.
      calibration: decoded train pictures.
      settings: what is asked of the files.
      verbose: whether converters may say what they do.

    Returns:
      What was measured.

    Raises:
      UserError: the model cannot be loaded or asked, lacks the signature of pixels, or `output`
        cannot be written.
    """
    loaded = load_exported(model)
    if features.PREDICT_PIXELS not in loaded.signatures:
        raise UserError(
            f"Model {model} has no signature {features.PREDICT_PIXELS}: an older version has "
            "pushed it. Run the pipeline again, and export what it pushes."
        )
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is no folder. Give another --output DIR.")
    names, identity = read_label_names(model), fingerprint(model)
    with (
        scratch_folder("export-") as scratch,
        progress("Exporting", 2 * len(formats) + 1, "steps") as advance,
    ):
        pictures = scratch / "pictures.zip"
        write_pictures(test.encoded, pictures)
        reference = ask(model, pictures, scratch)
        advance(1, "SavedModel")
        rows = []
        for one in formats:
            metadata = ExportMetadata(format=one.name, label_names=names, fingerprint=identity)
            made = scratch / one.file_name
            try:
                _convert(one, loaded, metadata, made, calibration, verbose=verbose)
                advance(1, one.name)
                answers = ask(made, pictures, scratch)
                stated = open_exported_file(made).metadata
            except UserError as error:
                rows.append(Measured(name=one.name, refusals=(str(error),)))
                continue
            bound = one.bound_in(settings)
            verdict = judge(test.labels, reference, answers, bound, (metadata, stated))
            kept = None if verdict.refusals else output / one.file_name
            if kept is not None:
                with whole_file(kept) as temporary:
                    shutil.copyfile(made, temporary)
            rows.append(_row(one.name, kept, made.stat().st_size, answers, verdict))
            advance(1, one.name)
    accuracy = float((reference.probabilities.argmax(axis=1) == test.labels).mean())
    itself = Verdict(accuracy, 0.0, 1.0, 0.0, ())
    return ExportRecord(
        fingerprint=identity,
        test_pictures=len(test.labels),
        calibration_pictures=len(calibration),
        model=_row("SavedModel", None, _size(model), reference, itself),
        exports=tuple(rows),
    )


def _row(name: str, file: Path | None, size: int, answers: Answers, verdict: Verdict) -> Measured:
    return Measured(
        name=name,
        file=file.name if file else None,
        size=size,
        accuracy=verdict.accuracy,
        accuracy_loss=verdict.accuracy_loss,
        agreement=verdict.agreement,
        difference=verdict.difference,
        milliseconds=answers.milliseconds,
        peak_bytes=answers.peak_bytes,
        refusals=verdict.refusals,
    )


def _convert(
    one: ExportFormat,
    loaded: Any,
    metadata: ExportMetadata,
    target: Path,
    calibration: Sequence[npt.NDArray[np.uint8]],
    *,
    verbose: bool,
) -> None:
    try:
        with _quiet(verbose):
            one.convert(loaded, metadata, target, calibration)
    except UserError:
        raise
    except Exception as error:  # converters raise whatever they meet
        raise UserError(
            f"Model cannot be converted to {one.name} ({in_short(error)}). "
            "Leave that format out, or report this."
        ) from error


@contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """Converters print and log every step, whatever goes well."""
    if verbose:
        yield
        return
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with quiet_native_output(verbose), redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(previous)


def _size(model: Path) -> int:
    """Of a SavedModel, without the exports that a pushed one carries."""
    files = [path for path in model.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files if model / PUSHED_IN not in path.parents)
