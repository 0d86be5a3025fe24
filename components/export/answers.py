"""Asks a model in a process of its own, so that its time and memory are its own.

``python -m inception_finetune.components.export.answers PARENT MODEL PICTURES RESULT``: the process
that is waited for, a SavedModel's folder or an exported file, a zip of pictures, an ``.npz``.
"""

import os
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from inception_finetune.components.errors import UserError
from inception_finetune.components.export.exported_file import is_exported_file
from inception_finetune.components.export.gate import Answers
from inception_finetune.components.lifetime import end_with
from inception_finetune.components.peak_memory import peak_bytes

# Exported files are asked on the processor, so the SavedModel is too: a GPU rounds otherwise, and
# another process may hold all of its memory.
_PROCESSOR_ALONE: Final = {"CUDA_VISIBLE_DEVICES": "-1"}
_REFUSED: Final = 3  # exit status: the last line of stderr is a UserError


def write_pictures(encoded: Sequence[bytes], target: Path) -> None:
    """Writes pictures for `ask`.

    Args:
      encoded: content of each file.
      target: the zip.
    """
    with zipfile.ZipFile(target, "w") as archive:
        for number, one in enumerate(encoded):
            archive.writestr(f"{number:09}", one)


def ask(model: Path, pictures: Path, scratch: Path) -> Answers:
    """Asks a model in a process of its own.

    Args:
      model: folder of a SavedModel, or an exported file.
      pictures: what `write_pictures` has written.
      scratch: a folder for the result.

    Returns:
      The answers, in the order of the pictures.

    Raises:
      UserError: the model cannot be loaded or asked, or the process died.
    """
    result = scratch / f"{model.name}.npz"
    arguments = [str(os.getpid()), str(model), str(pictures), str(result)]
    done = subprocess.run(
        [sys.executable, "-m", __name__, *arguments],
        env=os.environ | _PROCESSOR_ALONE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == _REFUSED:
        raise UserError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        said = " ".join(done.stderr.split())[-200:]
        raise UserError(
            f"Model {model} was not measured: its process ended with status {done.returncode} "
            f"({said}). Free memory, or export again."
        )
    with np.load(result) as arrays:
        return Answers(
            arrays["probabilities"], float(arrays["milliseconds"]), int(arrays["peak_bytes"])
        )


def _opened(model: Path) -> Any:
    if is_exported_file(model):
        from inception_finetune.components.export.exported_model import ExportedModel

        return ExportedModel(model)
    from inception_finetune.components.io.pushed_model import PushedModel

    return PushedModel(model)


def _answer(model: Path, pictures: Path, result: Path) -> None:
    opened = _opened(model)
    rows, seconds = [], []
    with zipfile.ZipFile(pictures) as archive:
        for name in sorted(archive.namelist()):
            encoded = archive.read(name)
            started = time.perf_counter()
            answers = opened.answer([encoded])
            seconds.append(time.perf_counter() - started)
            if error := answers.errors[0]:
                raise UserError(f"Model {model} cannot read test picture {int(name)}: {error}.")
            rows.append(answers.shares[0])
    np.savez(
        result,
        probabilities=np.stack(rows),
        milliseconds=1000 * statistics.median(seconds),
        peak_bytes=peak_bytes(),
    )


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    try:
        _answer(*map(Path, sys.argv[2:]))
    except UserError as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(_REFUSED)
