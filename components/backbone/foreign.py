"""Files of foreign origin: whatever a library makes of a damaged one becomes one line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from inception_finetune.components.errors import UserError

LONGEST: Final = 300  # characters of a library's own words
LARGEST_TEXT: Final = 32 << 20  # bytes of a description; Keras writes 0.3 MB of Inception-ResNet-v2
LARGEST: Final = 4 << 30  # bytes of all files of a module or of weights; ours have up to 0.3 GB


@contextmanager
def in_one_line(fact: str, mend: str) -> Iterator[None]:
    """Raises whatever goes wrong as one line: the fact, the library's own words, and the mend.

    Foreign files run through many layers, each with exceptions of its own, and fuzzed ones have
    raised some that no documentation names.

    Args:
        fact: what cannot be done, and with which file.
        mend: what to do.

    Raises:
        UserError: an exception was raised that is none itself.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:LONGEST].rstrip(". ")
        if not words or isinstance(error, LookupError):  # whose words are a key alone
            words = f"{type(error).__name__}: {words}".rstrip(": ")
        printable = "".join(one if one.isprintable() else "?" for one in words)
        raise UserError(f"{fact}: {printable}. {mend}.") from error


def read_text(path: Path) -> bytes:
    """Reads a description such as a configuration.

    Args:
        path: of the file.

    Raises:
        ValueError: it is larger than `LARGEST_TEXT`.
        OSError: it cannot be read.
    """
    if path.stat().st_size > LARGEST_TEXT:
        raise ValueError(f"{path.name} has over {LARGEST_TEXT:,} bytes")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """Reads a description in JSON.

    Args:
        path: of the file.

    Raises:
        ValueError: it is not JSON, or as `read_text`.
        RecursionError: it is nested too deeply.
        OSError: it cannot be read.
    """
    return json.loads(read_text(path))


def require_bounded(files: list[Path], source: Path) -> None:
    """Refuses files that would take hours to hash, such as sparse ones.

    Args:
        files: all files of a module or of weights.
        source: their folder, for the message.

    Raises:
        UserError: they have more than `LARGEST` bytes together.
    """
    size = sum(file.stat().st_size for file in files)
    if size > LARGEST:
        raise UserError(
            f"{source} is refused: its files have {size:,} bytes, and at most {LARGEST:,} are "
            "read. Give a folder or file that holds one network alone."
        )
