"""How commands fail: an exception that is one line to the user, and the exit statuses."""

from enum import IntEnum
from typing import Final

_LONGEST: Final = 120  # characters of a library's own words


class ExitStatus(IntEnum):
    """Of a command that did not do what it was asked; 2 is wrong usage, which typer reports."""

    FAILED = 1  # a UserError
    REFUSED = 3  # run: gate or server check refused the model; export: a file did not pass
    CHANGED = 4  # check-data: new images differ from those of training
    UNREAD = 5  # predict: every picture has its row, and some could not be read


class UserError(Exception):
    """A foreseeable failure: bad input, a missing file, a refused model.

    The message is one line, ``<what> in <where>: <why>. <what to do>.`` The command line prints it
    after ``error:`` and exits with `ExitStatus.FAILED`.
    """


def in_short(error: Exception) -> str:
    """Returns a library's exception, which may have pages, in part of a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}"
