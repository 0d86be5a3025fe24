"""Removes all that a pipeline's root holds of spans that cannot be kept, and remembers that."""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from rich.console import Console

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import is_marked, remove_unused
from inception_finetune.components.shown_text import plain
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.failure import as_user_error
from inception_finetune.pipeline.forgotten_spans import (
    ForgottenSpans,
    read_forgotten,
    write_forgotten,
)
from inception_finetune.pipeline.history.clean import lies_in
from inception_finetune.pipeline.history.runs import Run, newest_runs, open_store
from inception_finetune.pipeline.history.span_places import (
    Places,
    converted_windows,
    drop_suggestions,
    find_places,
    spans_of,
    stored_spans,
)
from inception_finetune.pipeline.history.taught_models import TaughtModel, taught_models
from inception_finetune.pipeline.locks import pipeline_lock
from inception_finetune.pipeline.spans import find_spans

_TYPE: Final = "inception_finetune.Forgetting"  # of the execution that records one
_DELETED: Final = metadata_store_pb2.Artifact.DELETED
_INPUT: Final = metadata_store_pb2.Event.INPUT


@dataclass(frozen=True)
class Forgotten:
    """What a forgetting did."""

    files: int
    freed: int  # bytes
    removed: Mapping[str, int]  # folders and files by their kind, in words
    suggestions: int  # rows of the table of `data check`
    models: tuple[TaughtModel, ...]
    sources: tuple[Path, ...]  # of the spans, which still lie there


def forget(config: Config, names: Collection[str]) -> Forgotten:
    """Removes spans: their pictures, and everything below the root that is made of single ones.

    They are written down as forgotten first, so that none is read again, and results are marked as
    deleted before their files go. So it may be stopped at any moment: the next run of the pipeline
    refuses to start until the forgetting has been repeated, and ended.

    Models that were trained on the spans stay, and are returned and recorded in the metadata.

    Args:
      config: of the pipeline.
      names: of the spans, as ids begin: a date, or a number.

    Raises:
      UserError: a span is unknown, another process works on the pipeline, or something of a span
        cannot be removed.
    """
    root = Path(config.root).resolve()
    if not config.dataset.spans:
        raise UserError(
            f"{config.name} has no dataset.spans, of which something could be forgotten. Give the "
            "--config of a pipeline that has."
        )
    if not root.is_dir():
        raise UserError(f"No {root}: nothing was ever read there. Give its root=DIRECTORY.")
    with as_user_error(), pipeline_lock(root):
        store = open_store(config)
        runs = [] if store is None else list(_all_runs(store, config))
        forgotten = read_forgotten(root)
        sources = {one.name: one.path for one in find_spans(config.dataset.spans)[0]}
        _require_known(root, names, runs, forgotten, sources)
        names = [*dict.fromkeys([*names, *forgotten.unfinished])]
        write_forgotten(
            root, ForgottenSpans(spans={**forgotten.spans, **dict.fromkeys(names, None)})
        )
        tainted = [run for _, run in runs if spans_of(run) & set(names)]
        models = taught_models(store, runs, names) if store else ()
        places = _find(root, store, names, tainted)
        if store:
            _mark(store, places)
        removed = {kind: len(set(paths)) for kind, paths in places.folders.items()}
        files, freed = _remove(places.folders.values())
        suggestions = drop_suggestions(root, names)
        _require_gone(root, names, places)
        if store and (files or any(forgotten.spans.get(name) is None for name in names)):
            _record(store, config, names, models, files, freed)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        # A second time is no news of those that were forgotten before.
        since = {name: forgotten.spans.get(name) or now for name in names}
        write_forgotten(root, ForgottenSpans(spans={**forgotten.spans, **since}))
    there = tuple(sources[name] for name in names if name in sources)
    shown = tuple(model for _, model in models)
    return Forgotten(files, freed, removed, suggestions, shown, there)


def print_forgotten(done: Forgotten, names: Collection[str], console: Console) -> None:
    """Says what was removed, which models have learned from it, and what is the user's to do."""

    def say(line: str) -> None:
        console.print(plain(line), highlight=False, soft_wrap=True)

    kinds = "; ".join(f"{kind}: {count:,}" for kind, count in done.removed.items())
    say(f"{done.files:,} files removed, {done.freed / 1e6:.1f} MB freed. {kinds or 'Nothing left'}")
    if done.suggestions:
        say(f"rows taken out of data-check/corrections.csv: {done.suggestions:,}")
    for model in done.models:
        how = "started from a model trained on it" if model.descends else "trained on it"
        pushed = f"version {', '.join(model.versions)}" if model.versions else "not pushed"
        serves = ", which serves" if model.serves else ""
        say(f"{how}: {model.pipeline}, run {model.run}, {pushed}{serves}")
    if not done.models:
        say("no model was trained on it")
    for source in done.sources:
        say(f"not removed, and never read again: {source}. Delete it where it must not be kept.")
    say(f"forgotten: {', '.join(names)}")


def _all_runs(store: mlmd.MetadataStore, config: Config) -> Iterator[tuple[Config, Run]]:
    """Yields the runs of all pipelines of a root, each with a configuration of that name."""
    for pipeline in store.get_contexts_by_type("pipeline"):
        of_name = config.model_copy(update={"name": pipeline.name})
        for run in newest_runs(of_name):
            yield of_name, run


def _require_known(
    root: Path,
    names: Collection[str],
    runs: Iterable[tuple[Config, Run]],
    forgotten: ForgottenSpans,
    sources: Collection[str],
) -> None:
    windows = [spans_of(run) for _, run in runs]
    converted = [spans or set() for spans in converted_windows(root).values()]
    stored = set(stored_spans(root).values())
    known = set(sources).union(forgotten.spans, stored, *windows, *converted) - {"golden"}
    for name in names:
        if name not in known:
            raise UserError(
                f"Span {name!r} is none that {root} has read or dataset.spans matches: "
                f"{_some(sorted(known)) or 'there are none'}. Give one of these, as ids begin."
            )


def _some(names: list[str]) -> str:
    if len(names) <= 6:
        return ", ".join(names)
    return f"{', '.join(names[:3])}, …, {', '.join(names[-3:])}"


def _find(
    root: Path, store: mlmd.MetadataStore | None, names: Collection[str], runs: Iterable[Run]
) -> Places:
    artifacts = store.get_artifacts() if store else []
    known = {Path(artifact.uri).resolve() for artifact in artifacts}
    inside = (root / "artifacts").resolve()
    places = find_places(root, names, runs, known, lambda path: lies_in(inside, path))
    if store:
        places.artifacts += _of_folders(artifacts, places)
    return places


def _of_folders(
    artifacts: Iterable[metadata_store_pb2.Artifact], places: Places
) -> list[metadata_store_pb2.Artifact]:
    """Returns the results whose folders are removed for another reason than their run."""
    going = {path.resolve() for paths in places.folders.values() for path in paths}
    ours = {artifact.id for artifact in places.artifacts}
    return [one for one in artifacts if one.id not in ours and Path(one.uri).resolve() in going]


def _mark(store: mlmd.MetadataStore, places: Places) -> None:
    """Marks results as deleted, so that TFX never reuses one that is not whole."""
    live = [artifact for artifact in places.artifacts if artifact.state != _DELETED]
    for artifact in live:
        artifact.state = _DELETED
    if live:
        store.put_artifacts(live)


def _remove(kinds: Iterable[Iterable[Path]]) -> tuple[int, int]:
    """Removes folders and files, never through a link; returns how many files and bytes went."""
    sizes: dict[tuple[int, int], int] = {}  # a file may have several names
    for path in dict.fromkeys(path for paths in kinds for path in paths):
        if path.is_symlink() or not path.exists():
            continue
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        states = [one.lstat() for one in files]
        sizes |= {(one.st_dev, one.st_ino): one.st_size for one in states}
        if path.is_file():
            path.unlink()
        elif is_marked(path):
            remove_unused([path])
        else:
            shutil.rmtree(path)
    return len(sizes), sum(sizes.values())


def _require_gone(root: Path, names: Collection[str], places: Places) -> None:
    """Refuses to call forgotten what is still there: a link, or what another process has locked."""
    planned = [path for paths in places.folders.values() for path in paths]
    left = [path for path in planned if path.exists() or path.is_symlink()] + places.elsewhere
    if left:
        raise UserError(
            f"Spans {', '.join(names)} in {root} are not wholly forgotten: {left[0]} is a link, in "
            f"use, or outside of that root ({len(left)} such in all). Remove it, and run this "
            "command again."
        )


def _record(
    store: mlmd.MetadataStore,
    config: Config,
    names: Collection[str],
    models: Iterable[tuple[metadata_store_pb2.Artifact, TaughtModel]],
    files: int,
    freed: int,
) -> None:
    """Writes the forgetting and the models that have learned from the spans to the metadata."""
    execution = metadata_store_pb2.Execution(
        type_id=store.put_execution_type(metadata_store_pb2.ExecutionType(name=_TYPE)),
        last_known_state=metadata_store_pb2.Execution.COMPLETE,
    )
    execution.custom_properties["spans"].string_value = ", ".join(names)
    execution.custom_properties["files"].int_value = files
    execution.custom_properties["bytes"].int_value = freed
    read = []
    for model, taught in models:
        event = metadata_store_pb2.Event(type=_INPUT)
        event.path.steps.add().key = "descended" if taught.descends else "trained"
        read.append((model, event))
    pipeline = store.get_context_by_type_and_name("pipeline", config.name)
    store.put_execution(execution, read, [pipeline] if pipeline else [])
