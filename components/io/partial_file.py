"""The part of a download that has arrived, from which a later attempt goes on."""

import hashlib
import json
from pathlib import Path


class PartialFile:
    """The file ``<target>.part``, and beside it which version of the remote file it is of."""

    def __init__(self, target: Path, url: str) -> None:
        self.target = target
        self.url = url
        self._digest = hashlib.sha256(url.encode()).hexdigest()  # it may hold a password
        self.version: str | None = None  # of what the server sends; see `version_of`
        self.path = target.with_name(target.name + ".part")
        self._validator_path = target.with_name(target.name + ".part.json")

    def validator(self) -> str | None:
        """Returns the ETag or date that tells whether the server still has the same file."""
        try:
            stored = json.loads(self._validator_path.read_text())
            return str(stored["validator"]) if stored["url"] == self._digest else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def size(self) -> int:
        """Returns the bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def start(self, validator: str | None) -> None:
        """Empties the part. In this order no old byte is ever beside a new validator.

        Args:
          validator: of the file that is going to arrive.
        """
        self._validator_path.unlink(missing_ok=True)
        self.path.write_bytes(b"")
        if validator:
            stored = {"url": self._digest, "validator": validator}
            self._validator_path.write_text(json.dumps(stored))

    def discard(self) -> None:
        """Removes the part."""
        self._validator_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def complete(self) -> None:
        """Puts the part in the target's place."""
        self._validator_path.unlink(missing_ok=True)
        self.path.replace(self.target)
