"""From what a step raised to one line for the user."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from inception_finetune.components.errors import UserError

# Beam re-raises a worker's exception as a RuntimeError that only quotes the original.
QUOTED_USER_ERROR = re.compile(r"components\.errors\.UserError: (.+?)(?: \[while running|\n|$)")
WHERE_IN_BEAM = re.compile(r" \[while running [^\]]*\]$")  # what Beam adds to any exception
# What Python, TensorFlow and SQLite write of the system's own failures, and what to do.
REMEDIES = {
    "No space left on device": "Free space, or give another root=DIRECTORY or TMPDIR",
    "database or disk is full": "Free space, or give another root=DIRECTORY",
    # SQLite has given up the change by itself, and ML Metadata does not see that.
    "no transaction is active": "Free space, or give another root=DIRECTORY",
    "Disk quota exceeded": "Free space, or give another root=DIRECTORY",
    "Read-only file system": "Give a root=DIRECTORY and cache=DIRECTORY that can be written",
    "readonly database": "Give a root=DIRECTORY that can be written",
    "Permission denied": "Give a root=DIRECTORY and cache=DIRECTORY that can be written",
    "Too many open files": "Raise the limit of open files (ulimit -n)",
    "database is locked": "End the other program that has metadata.sqlite open",
    "No such file or directory": "Run again: lost results of earlier runs are made again",
    "SavedModel file does not exist": "Run again: lost results of earlier runs are made again",
    # ML Metadata has waited for a lock for most of a minute.
    "Concurrent writes aborted": "End the other program that has metadata.sqlite open",
    "database disk image is malformed": "Restore metadata.sqlite from a copy, or give another "
    "root=DIRECTORY; what was pushed still serves",
    "file is not a database": "Restore metadata.sqlite from a copy, or give another "
    "root=DIRECTORY; what was pushed still serves",
    "unable to open database file": "Make metadata.sqlite readable, or give another root=DIRECTORY",
}
# What Beam says of a job that a cluster gave up.
ENGINE_FAILURE = re.compile(r"Pipeline \S+ failed in state (\w+): (.+)", re.DOTALL)
_EXCEPTION = re.compile(r"\s*([\w.]+(?:Error|Exception)\b: .+)")
# What Beam and TFX write of records that our conversion did not write, and the fault.
_CHECKED = "Have them checked: give their folder as dataset.archive (docs/data.md)"
RECORD_PROBLEMS = {
    "Not a valid TFRecord": "A TFRecord file is damaged",
    "Error parsing message with type 'tensorflow.Example'": "A record is not a tf.train.Example",
    "Feature had wrong type": "A feature has another type than the schema's",
    "No files found based on the file pattern": "A split has no files",
}
_SQL = re.compile(r" query: +[A-Z]+\b.*")  # the statement that SQLite could not carry out
_LONGEST = 240  # characters of a library's own words


@contextmanager
def as_user_error() -> Iterator[None]:
    """Raises a foreseeable failure as the UserError behind what libraries made of it."""
    try:
        yield
    except Exception as error:
        known = user_error(error)
        if known is None or known is error:
            raise
        raise known from error


def user_error(error: BaseException | None) -> UserError | None:
    """The UserError behind what a runner or executor raised, if there is one.

    The system's own failures, such as a full disk, become one as well.
    """
    while error is not None:
        if isinstance(error, UserError):
            message = WHERE_IN_BEAM.sub("", str(error))
            return error if message == str(error) else UserError(message)
        if isinstance(error, ModuleNotFoundError):
            return UserError(
                f"Package {error.name} is not installed. Install the whole program; the light "
                "installation is for `predict --model FILE` alone."
            )
        quoted = QUOTED_USER_ERROR.search(str(error))
        if quoted:
            return UserError(quoted.group(1))
        if failed := ENGINE_FAILURE.search(str(error)):
            return _engine_failure(*failed.groups())
        if system := _system_failure(str(error)):
            return system
        error = error.__cause__ or error.__context__
    return None


def _engine_failure(state: str, message: str) -> UserError:
    """`message` is Java's, and may contain a worker's traceback, which is more precise."""
    java, _, python = message.partition("Traceback (most recent call last):")
    raised = [found[1] for line in python.splitlines() if (found := _EXCEPTION.match(line))]
    reason = raised[-1] if raised else java.strip().partition("\n")[0]
    return UserError(
        f"A step on the Beam engine ended {state}: {reason.strip().rstrip('.')[:_LONGEST]}. "
        "See the engine's log, and run again."
    )


def _system_failure(text: str) -> UserError | None:
    for line in text.splitlines():
        for symptom, remedy in REMEDIES.items():
            if symptom in line:
                return UserError(
                    f"The system failed a step: {_shortened(line, symptom)}. {remedy}."
                )
        for symptom, problem in RECORD_PROBLEMS.items():
            if symptom in line:
                return UserError(f"{problem}: {_shortened(line, symptom)}. {_CHECKED}.")
    return None


def _shortened(line: str, symptom: str) -> str:
    text = _SQL.sub("", line).strip().rstrip(".")
    if len(text) > _LONGEST:
        start = max(0, text.index(symptom) - _LONGEST // 2)
        text = text[start : start + _LONGEST]
    return text
