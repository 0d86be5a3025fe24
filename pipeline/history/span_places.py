"""Where pictures of spans, or what is made of single ones, lie below a pipeline's root."""

import csv
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ml_metadata.proto import metadata_store_pb2

from inception_finetune.components.dataset.manifest import load_manifest
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import SPANS
from inception_finetune.components.io.marked_folder import MARKER
from inception_finetune.components.io.record_index import identify
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.history.runs import Run

# Models, what a gate or server says of them, and the schema, which is made of no picture. All other
# results of a run that had the span go, those of steps that are yet to be written too.
KEPT: Final = frozenset(
    {
        (Step.SCHEMA_GEN, "schema"),
        (Step.TRAINER, "model"),
        (Step.EVALUATOR, "evaluation"),
        (Step.EVALUATOR, "blessing"),
        (Step.INFRA_VALIDATOR, "blessing"),
        (Step.EXPORT, "exports"),
        (Step.PUSHER, "pushed_model"),
    }
)
_VERSION: Final = " (version "  # in a window's names of spans, where they have one
_FEATURES: Final = f"{Step.TRUNK_FEATURES}/trunk_features"


@dataclass
class Places:
    """What is to be removed."""

    folders: dict[str, list[Path]] = field(default_factory=dict)  # by kind, in words; files too
    artifacts: list[metadata_store_pb2.Artifact] = field(default_factory=list)  # theirs
    elsewhere: list[Path] = field(default_factory=list)  # results that do not lie in the root

    def add(self, kind: str, paths: Iterable[Path]) -> None:
        """Adds what exists."""
        there = [path for path in paths if path.exists() or path.is_symlink()]
        if there:
            self.folders.setdefault(kind, []).extend(there)


def spans_of(run: Run) -> set[str]:
    """Returns the names of the spans in a run's window."""
    return span_names(_window(run))


def taught_spans(run: Run) -> set[str]:
    """Returns the names of the spans that a run's model was trained on: not of the one held out."""
    window = _window(run)
    if run.config is not None and run.config.dataset.newest_as_test:
        window = window[:-1]
    return span_names(window)


def _window(run: Run) -> list[str]:
    """The spans of a run's window with their versions, that which is held out last."""
    examples = run.artifacts.get((Step.EXAMPLE_GEN, "examples"))
    text = "" if examples is None else examples.custom_properties[SPANS].string_value
    return list(json.loads(text)) if text else []


def span_names(window: Collection[str]) -> set[str]:
    """Returns the names of a window's spans without their versions."""
    return {name.partition(_VERSION)[0] for name in window}


def stored_spans(root: Path) -> dict[Path, str]:
    """Returns the folders of stored spans, with the names of the spans."""
    folders = [path for path in (root / "spans").glob("*") if not path.name.startswith(".")]
    return {path: path.name.partition("-version-")[0] for path in folders}


def converted_windows(root: Path) -> dict[Path, set[str] | None]:
    """Returns the folders of converted records and their spans; None where that is unknown."""
    found: dict[Path, set[str] | None] = {}
    for folder in sorted(root.glob("records*")):
        if folder.is_dir():
            try:
                found[folder] = span_names(load_manifest(folder).spans)
            except UserError:
                found[folder] = None
    return found


def find_places(
    root: Path,
    names: Collection[str],
    runs: Iterable[Run],
    known: Collection[Path],
    lies_inside: Callable[[Path], bool],
) -> Places:
    """Finds all places that may hold pictures of spans.

    Args:
      root: of the pipeline, resolved.
      names: of the spans.
      runs: those whose window had one of them.
      known: resolved folders of all results that the metadata know.
      lies_inside: whether a result's folder lies in the root, and behind no link.

    Returns:
      The places, which exist; unfinished work of any run is among them.
    """
    places = Places()
    stored = stored_spans(root).items()
    places.add("stored spans", [folder for folder, name in stored if name in names])
    converted = converted_windows(root).items()
    hit = [folder for folder, spans in converted if spans is None or spans & set(names)]
    places.add("converted records", hit)
    runs = list(runs)
    made = {
        artifact.id: artifact
        for run in runs
        for key, artifact in run.artifacts.items()
        if key not in KEPT
    }
    places.artifacts = list(made.values())
    folders = {Path(artifact.uri) for artifact in made.values()}
    places.add("results of their runs", sorted(filter(lies_inside, folders)))
    places.elsewhere = sorted(one for one in folders if one.exists() and not lies_inside(one))
    taken = {folder.resolve() for folder in folders}
    artifacts = root / "artifacts"
    others = [path for path in sorted(artifacts.glob("*/*/*")) if path.resolve() not in taken]
    numbered = [path for path in others if path.name.isdecimal() and path.is_dir()]
    lost = [path for path in numbered if path.resolve() not in known and _has_files(path)]
    lost += filter(_has_files, artifacts.glob("*/.system/stateful_working_dir/*"))
    prefixes = tuple(f"{name}/".encode() for name in names)
    features = [one for one in numbered if one.match(f"{_FEATURES}/*") and one not in lost]
    seen: dict[tuple[int, int], bool] = {}
    shared = [one for one in features if _holds_features(one, prefixes, seen)]
    places.add("trunk features of other runs, in files with theirs", shared)
    marked = [path.parent for path in root.rglob(MARKER)]
    places.add("checkpoints and unfinished work", [*lost, *marked])
    numbers = {str(run.number) for run in runs}
    places.add("pages", _pages(root, numbers, names))
    # Of whichever model: it is measured again where its run's examples are still there.
    places.add("what watch measured of a training", (root / "watch").glob("reference-*.npz"))
    return places


def _has_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


def _holds_features(
    folder: Path, prefixes: tuple[bytes, ...], seen: dict[tuple[int, int], bool]
) -> bool:
    """Whether trunk features of a span lie in a folder; those of several runs share files.

    Args:
      folder: of a TrunkFeatures artifact.
      prefixes: with which the ids of the spans' pictures begin.
      seen: files that were read, by device and number; those read now are added.
    """
    for file in sorted(folder.glob("Split-*/*.tfrecord")):
        state = file.stat()
        key = (state.st_dev, state.st_ino)
        if key not in seen:
            seen[key] = any(one.startswith(prefixes) for one in _ids(file))
        if seen[key]:
            return True
    return False


def _ids(file: Path) -> Iterator[bytes]:
    import tensorflow as tf

    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        yield identify(record)[0]


def _pages(root: Path, numbers: Collection[str], names: Collection[str]) -> Iterator[Path]:
    """Yields files beside the runs that show pictures of the spans, or name them."""
    for page in sorted((root / "reviews").glob("runs-*-*.html")):
        if set(page.stem.split("-")[1:]) & set(numbers):
            yield page
    check = root / "data-check"
    checked = [check / "data.html", check / "findings.json"]
    if any(names_spans(file, names) for file in checked):
        yield from checked
    for page in (root / "near-duplicates.json", root / "robustness/robustness.html"):
        if names_spans(page, names):
            yield page


def names_spans(file: Path, names: Collection[str]) -> bool:
    """Whether a text has an id of one of the spans' pictures; not of one that does not exist."""
    if not file.is_file():
        return False
    text = file.read_text("utf-8", errors="replace")
    return any(f"{name}/" in text for name in names)


def drop_suggestions(root: Path, names: Collection[str]) -> int:
    """Takes the spans' pictures out of the table of `data check`, in which people may have written.

    Returns:
      Number of rows.
    """
    file = root / "data-check/corrections.csv"
    if not names_spans(file, names):
        return 0
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = list(csv.reader(opened))
    ids = tuple(f"{name}/" for name in names)
    # Span 1 is not span 21, nor class 1 of another span.
    named = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, ids))})")
    kept = [
        [row[0], *("" if named.search(cell) else cell for cell in row[1:])]
        for row in rows
        if row and not row[0].startswith(ids)
    ]
    with whole_file(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(kept)
    return len(rows) - len(kept)
