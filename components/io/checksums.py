"""What a file's checksums are expected to be."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from inception_finetune.components.errors import UserError

# md5 tells damage, not malice: CIFAR-10's publisher gives nothing else.
_ALGORITHMS: Final[dict[str, Callable[[], Any]]] = {
    "md5": partial(hashlib.md5, usedforsecurity=False),
    "sha256": hashlib.sha256,
}


@dataclass(frozen=True)
class Checksums:
    """Digests that a file must have, and none for a file of which none is known."""

    expected: dict[str, str]  # algorithm: hex digest

    @classmethod
    def of(cls, sha256: str | None, md5: str | None) -> Self:
        """Checks that the digests are some.

        Args:
          sha256: in hexadecimal, or None.
          md5: the same.

        Raises:
          UserError: one has another length, or other digits.
        """
        given = {"sha256": sha256, "md5": md5}
        expected = {name: digest.lower() for name, digest in given.items() if digest is not None}
        for name, digest in expected.items():
            length = 2 * _ALGORITHMS[name]().digest_size
            if not re.fullmatch(f"[0-9a-f]{{{length}}}", digest):
                raise UserError(
                    f"{digest!r} is not a {name}: it must have {length} hexadecimal digits. "
                    "Correct the checksum."
                )
        return cls(expected)

    def mismatch(self, path: Path) -> str | None:
        """Describes how the file's checksum differs, or returns None."""
        for name, digest in self.expected.items():
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, _ALGORITHMS[name]).hexdigest()
            if actual != digest:
                return f"{name} {actual}, expected {digest}"
        return None
