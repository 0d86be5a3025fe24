"""The manifest of a conversion: what it was made of and with, and which files it has."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

from inception_finetune.components.dataset.bad_examples import STRICT, Policy
from inception_finetune.components.errors import UserError

MANIFEST_FILE: Final = "manifest.json"
UNFINISHED: Final = f"{MANIFEST_FILE}.part"


@dataclass(frozen=True)
class Settings:
    """All settings that the bytes of a conversion depend on, besides the source."""

    validation_fraction: float
    seed: int
    examples_per_shard: int
    test_fraction: float | None = None  # None where the archive has a test batch
    image_column: str | None = None  # of a table; None where it was found
    label_column: str | None = None


@dataclass(frozen=True)
class Shard:
    """A TFRecord file of a conversion."""

    file: str
    examples: int
    size: int  # bytes
    sha256: str
    changed: dict[str, int] = field(default_factory=dict)  # pictures by `dataset.changes`' kinds


@dataclass(frozen=True)
class Manifest:
    """Describes a conversion."""

    converter_version: int
    fingerprint: str  # of the archive
    settings: Settings
    label_names: tuple[str, ...]
    shards: dict[str, tuple[Shard, ...]]  # by split
    policy: Policy = STRICT  # that the examples were checked by
    skipped: dict[str, str] = field(default_factory=dict)  # id -> reason, of those left out
    corrected: dict[str, str] = field(default_factory=dict)  # id -> what a person's table changed
    notes: tuple[str, ...] = ()  # what was guessed of the source or is not looked at, in words
    spans: dict[str, int] = field(default_factory=dict)  # of a window: span -> pictures

    @property
    def counts(self) -> dict[str, int]:
        """Number of examples in each split."""
        return {split: sum(s.examples for s in shards) for split, shards in self.shards.items()}

    @property
    def changed(self) -> dict[str, int]:
        """Number of images that training sees differently from their files, by kind."""
        total: Counter[str] = Counter()
        for shard in chain(*self.shards.values()):
            total.update(shard.changed)
        return dict(total)


def load_manifest(directory: Path) -> Manifest:
    """Reads the manifest of a finished conversion.

    Raises:
      UserError: there is none, or it is damaged.
    """
    path = directory / MANIFEST_FILE
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"{directory} holds no converted data set: {MANIFEST_FILE} is missing. Convert again."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"Manifest {path} is damaged: {error!r}. Convert again.") from error


def is_whole(shard: Shard, directory: Path) -> bool:
    """Returns whether a shard's file holds the bytes that were written; 1 GB takes a second."""
    path = directory / shard.file
    if path.stat().st_size != shard.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256


def write_manifest(manifest: Manifest, directory: Path) -> None:
    """Writes the manifest at once or not at all."""
    content = asdict(manifest) | {"counts": manifest.counts, "changed": manifest.changed}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    temporary = directory / UNFINISHED
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(directory / MANIFEST_FILE)


def _parse(content: dict[str, Any]) -> Manifest:
    manifest = Manifest(
        converter_version=content["converter_version"],
        fingerprint=content["fingerprint"],
        settings=Settings(**content["settings"]),
        label_names=tuple(content["label_names"]),
        shards={
            split: tuple(Shard(**shard) for shard in shards)
            for split, shards in content["shards"].items()
        },
        policy=Policy(**content.get("policy", {})),
        skipped=dict(content.get("skipped", {})),
        corrected=dict(content.get("corrected", {})),
        notes=tuple(content.get("notes", ())),
        spans=dict(content.get("spans", {})),
    )
    if manifest.counts != content["counts"]:
        raise ValueError(f"counts {content['counts']} do not fit the shards' {manifest.counts}")
    return manifest
