"""Keeps what C++ libraries print while they are loaded off the user's terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def quiet_native_output(verbose: bool) -> Iterator[None]:
    """Drops what C++ libraries write to file descriptor 2 while they are loaded.

    TensorFlow logs some lines before its own log level is in force. Errors in Python are not
    affected: exceptions pass through.
    """
    if verbose:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
