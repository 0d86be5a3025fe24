"""Pictures that do not fit one machine become TFRecord shards: a Beam pipeline.

Each worker reads pictures and sends them, by a digest of their bytes, to the one shard that they
belong to. So equal pictures meet, whatever their names, and the same source and settings give the
same bytes on any engine.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, groupby
from pathlib import Path
from typing import Final, NamedTuple

from components.dataset.convert import (
    EXAMPLES_PER_SHARD,
    existing_conversion,
    labels_text,
    put_in_place,
    refuse_foreign_files,
)
from components.dataset.listing import write_listing
from components.dataset.manifest import Manifest, Settings, Shard, write_manifest
from components.dataset.tfrecord import frame, serialize_example
from components.errors import UserError
from components.features import (
    IMAGE_ENCODED,
    IMAGE_FORMAT,
    IMAGE_HEIGHT,
    IMAGE_ID,
    IMAGE_WIDTH,
    LABEL,
    LABELS_FILE,
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
)

CONVERTER_VERSION: Final = 1  # raise it when the same source and settings give other bytes
_FORMATS: Final = {"PNG": b"png", "JPEG": b"jpeg"}
_REPORT: Final = ".json"  # beside a part's shards until the manifest is made


class Picture(NamedTuple):
    digest: bytes  # sha256 of `encoded`
    id: str
    label: int
    split: str  # as the source has it, or ""
    encoded: bytes


def convert_listed(
    source: Path,
    directory: Path,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    beam_arguments: Sequence[str],
    examples_per_shard: int = EXAMPLES_PER_SHARD,
) -> Manifest:
    """Writes the pictures of a folder or list to `directory`, which all workers must see.

    Where the source names no test pictures, `test_fraction` of all become test, and where it
    names none for validation, `validation_fraction` of what is left to train: by a hash of seed
    and picture. Of equal pictures one is kept: a test picture rather than a train picture, then the
    first id; none where their classes contradict each other.

    Raises:
      UserError: the source fits no layout, or a picture cannot be read.
    """
    refuse_foreign_files(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as tmp:
        lines, fresh = Path(tmp) / "listing.jsonl", Path(tmp) / "new"
        listing = write_listing(source, lines)
        if TEST in listing.splits:
            test_fraction = 0.0
        if VALIDATION in listing.splits:
            validation_fraction = 0.0
        settings = Settings(validation_fraction, seed, examples_per_shard, test_fraction)
        made_of = (CONVERTER_VERSION, listing.fingerprint, settings)
        if (existing := existing_conversion(directory, made_of)) is not None:
            return existing
        fresh.mkdir()
        parts = math.ceil(listing.count / examples_per_shard)
        _run(lines, fresh, parts, settings, beam_arguments)
        shards, left_out = _collect(fresh)
        if missing := [split for split in SPLITS if not shards[split]]:
            raise UserError(
                f"each of train, validation and test needs a picture. {source} with "
                f"{listing.count} pictures leaves {', '.join(missing)} empty; give more pictures "
                "or larger dataset.validation_fraction and dataset.test_fraction"
            )
        written = sum(shard.examples for shard in chain(*shards.values()))
        if written + left_out != listing.count:
            raise UserError(
                f"every picture must be written or left out. {listing.count} are listed, "
                f"{written} were written, {left_out} left out; convert again"
            )
        manifest = Manifest(*made_of, listing.label_names, shards, left_out=left_out)
        (fresh / LABELS_FILE).write_text(labels_text(listing.label_names), encoding="utf-8")
        write_manifest(manifest, fresh)
        put_in_place(fresh, directory, Path(tmp) / "old")
    return manifest


def _run(
    lines: Path, fresh: Path, parts: int, settings: Settings, beam_arguments: Sequence[str]
) -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    with beam.Pipeline(options=PipelineOptions(list(beam_arguments))) as root:
        _ = (
            root
            | "Listing" >> beam.io.ReadFromText(str(lines))
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.Map(_read)
            | "Part" >> beam.Map(lambda picture: (_number(picture.digest) % parts, picture))
            | "Meet" >> beam.GroupByKey()
            | "Write" >> beam.Map(_write_part, str(fresh), parts, settings)
        )


def _read(line: str) -> Picture:
    from apache_beam.io.filesystems import FileSystems

    identity, address, label, split = json.loads(line)
    try:
        with FileSystems.open(address) as file:
            encoded = file.read()
    except OSError as error:
        raise UserError(
            f"every listed picture must be readable. Received: {address} ({error})"
        ) from None
    return Picture(hashlib.sha256(encoded).digest(), identity, label, split, encoded)


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")


def _write_part(
    part: tuple[int, Iterable[Picture]], directory: str, parts: int, settings: Settings
) -> None:
    """Writes the part's shard of each split. Repeated, it writes the same files again."""
    number, pictures = part
    chosen, left_out = _without_duplicates(pictures)
    shards = {}
    for split in SPLITS:
        of_split = [picture for picture in chosen if _split(picture, settings) == split]
        if of_split:
            name = f"{split}-{number:05d}-of-{parts:05d}.tfrecord"
            of_split.sort(key=lambda picture: _shuffled(picture, settings.seed))
            shards[split] = asdict(_write_shard(Path(directory) / name, of_split))
    report = {"shards": shards, "left_out": left_out}
    path = Path(directory) / f"part-{number:05d}{_REPORT}"
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    temporary.write_text(json.dumps(report), "utf-8")
    temporary.replace(path)


def _without_duplicates(pictures: Iterable[Picture]) -> tuple[list[Picture], int]:
    precedence = {TEST: 0, VALIDATION: 1, TRAIN: 2, "": 2}
    ordered = sorted(pictures, key=lambda p: (p.digest, precedence[p.split], p.id))
    chosen, left_out = [], 0
    for _, group in groupby(ordered, key=lambda picture: picture.digest):
        equal = list(group)
        agree = len({picture.label for picture in equal}) == 1
        chosen += equal[:1] if agree else []
        left_out += len(equal) - (1 if agree else 0)
    return chosen, left_out


def _split(picture: Picture, settings: Settings) -> str:
    if picture.split in (TEST, VALIDATION):
        return picture.split
    test, validation = (
        _number(hashlib.sha256(f"{settings.seed} {name} ".encode() + picture.digest).digest())
        / 2**64
        for name in (TEST, VALIDATION)
    )
    if not picture.split and test < (settings.test_fraction or 0):
        return TEST
    return VALIDATION if validation < settings.validation_fraction else TRAIN


def _shuffled(picture: Picture, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} order ".encode() + picture.digest).digest()


def _write_shard(path: Path, pictures: Iterable[Picture]) -> Shard:
    digest, size, count = hashlib.sha256(), 0, 0
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with temporary.open("wb") as file:
        for record in map(_record, pictures):
            digest.update(record)
            size += file.write(record)
            count += 1
    temporary.replace(path)
    return Shard(path.name, count, size, digest.hexdigest())


def _record(picture: Picture) -> bytes:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(picture.encoded), formats=list(_FORMATS)) as image:
            (width, height), form = image.size, _FORMATS[str(image.format)]
            image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(
            f"every picture must be a whole PNG or JPEG. Received: another, {picture.id} "
            f"({len(picture.encoded)} bytes, {type(error).__name__}); mend or remove it"
        ) from None
    values: dict[str, bytes | int] = {
        IMAGE_ENCODED: picture.encoded,
        IMAGE_FORMAT: form,
        IMAGE_HEIGHT: height,
        IMAGE_WIDTH: width,
        IMAGE_ID: picture.id.encode(),
        LABEL: picture.label,
    }
    return frame(serialize_example(values))


def _collect(directory: Path) -> tuple[dict[str, tuple[Shard, ...]], int]:
    """The shards of all parts, and how many pictures were left out; tidies up."""
    shards: dict[str, list[Shard]] = {split: [] for split in SPLITS}
    left_out = 0
    for path in sorted(directory.glob(f"part-*{_REPORT}")):
        report = json.loads(path.read_text("utf-8"))
        left_out += report["left_out"]
        for split, shard in report["shards"].items():
            shards[split].append(Shard(**shard))
    written = {shard.file for shard in chain(*shards.values())}
    for path in list(_others(directory, written)):
        path.unlink()  # reports, and what a worker that died left behind
    return {split: tuple(found) for split, found in shards.items()}, left_out


def _others(directory: Path, written: set[str]) -> Iterator[Path]:
    return (path for path in directory.iterdir() if path.name not in written)
