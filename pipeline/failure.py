"""What a step raised, as the one line that the user is told."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from inception_finetune.components.errors import UserError

# Beam re-raises a worker's exception as a RuntimeError that only quotes the original.
QUOTED_USER_ERROR = re.compile(r"components\.errors\.UserError: (.+?)(?: \[while running|\n|$)")
WHERE_IN_BEAM = re.compile(r" \[while running [^\]]*\]$")  # what Beam adds to any exception
# In what Python, TensorFlow and SQLite say of the system's own failures: the mend.
MENDS = {
    "No space left on device": "make room, or give another root=DIRECTORY or TMPDIR",
    "database or disk is full": "make room, or give another root=DIRECTORY",
    "Disk quota exceeded": "make room, or give another root=DIRECTORY",
    "Read-only file system": "give a root=DIRECTORY and cache=DIRECTORY that can be written",
    "readonly database": "give a root=DIRECTORY that can be written",
    "Permission denied": "give a root=DIRECTORY and cache=DIRECTORY that can be written",
    "Too many open files": "raise the limit of open files (ulimit -n)",
    "database is locked": "end the other program that has metadata.sqlite open",
    "No such file or directory": "run again: what a run has made and lost is made again",
    "SavedModel file does not exist": "run again: what a run has made and lost is made again",
    # As ML Metadata says that it has waited for a lock, for most of a minute.
    "Concurrent writes aborted": "end the other program that has metadata.sqlite open",
    "database disk image is malformed": "restore metadata.sqlite from a copy, or give another "
    "root=DIRECTORY; what was pushed still serves",
    "file is not a database": "restore metadata.sqlite from a copy, or give another "
    "root=DIRECTORY; what was pushed still serves",
}
# What Beam says of a job that a cluster gave up.
ENGINE_FAILURE = re.compile(r"Pipeline \S+ failed in state (\w+): (.+)", re.DOTALL)
_EXCEPTION = re.compile(r"\s*([\w.]+(?:Error|Exception)\b: .+)")
# In what Beam and TFX say of records that no conversion of ours wrote: the rule that they break.
_CHECKED = "have them checked: give their folder as dataset.archive (docs/data.md)"
RECORD_RULES = {
    "Not a valid TFRecord": "a TFRecord file must be whole",
    "Error parsing message with type 'tensorflow.Example'": "a record must be a tf.train.Example",
    "Feature had wrong type": "a feature must have the schema's type",
    "No files found based on the file pattern": "every split must have files",
}
_SQL = re.compile(r" query: +[A-Z]+ .*")  # the statement that SQLite could not carry out
_LONGEST = 240  # characters of a library's own words


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turns what libraries make of a foreseeable failure into the UserError that is behind it."""
    try:
        yield
    except Exception as error:
        mended = user_error(error)
        if mended is None or mended is error:
            raise
        raise mended from error


def user_error(error: BaseException | None) -> UserError | None:
    """The UserError behind what a runner or executor raised, if there is one.

    The system's own failures, such as a full disk, become one as well.
    """
    while error is not None:
        if isinstance(error, UserError):
            said = WHERE_IN_BEAM.sub("", str(error))
            return error if said == str(error) else UserError(said)
        quoted = QUOTED_USER_ERROR.search(str(error))
        if quoted:
            return UserError(quoted.group(1))
        if failed := ENGINE_FAILURE.search(str(error)):
            return _engine_failure(*failed.groups())
        if system := _system_failure(str(error)):
            return system
        error = error.__cause__ or error.__context__
    return None


def _engine_failure(state: str, told: str) -> UserError:
    """`told` is Java's message, and in it perhaps a worker's traceback, which says more."""
    java, _, python = told.partition("Traceback (most recent call last):")
    raised = [found[1] for line in python.splitlines() if (found := _EXCEPTION.match(line))]
    reason = raised[-1] if raised else java.strip().partition("\n")[0]
    return UserError(
        f"the Beam engine must carry a step through. It ended {state}: "
        f"{reason.strip()[:_LONGEST]}; see the engine's log, mend it, and run again"
    )


def _system_failure(text: str) -> UserError | None:
    for line in text.splitlines():
        for symptom, mend in MENDS.items():
            if symptom in line:
                return UserError(
                    f"the system failed a step. Received: {_shortened(line, symptom)}; {mend}"
                )
        for symptom, rule in RECORD_RULES.items():
            if symptom in line:
                return UserError(f"{rule}. Received: {_shortened(line, symptom)}; {_CHECKED}")
    return None


def _shortened(line: str, symptom: str) -> str:
    told = _SQL.sub("", line).strip()
    if len(told) > _LONGEST:
        start = max(0, told.index(symptom) - _LONGEST // 2)
        told = told[start : start + _LONGEST]
    return told
