"""The spans of `dataset.spans`: found by TFX's pattern, read once, chosen by the window."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from inception_finetune.components.dataset import layout, spans
from inception_finetune.components.dataset.bad_examples import Policy
from inception_finetune.components.dataset.encoded_source import EncodedSource
from inception_finetune.components.dataset.source import BrowsableSource
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import TEST
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.forgotten_spans import require_finished

GOLDEN: Final = "golden"  # name of the golden set among the stored spans
_NAMED: Final = 3  # files in a message
_FIRST_DAY: Final = date(1970, 1, 1)  # span 0 of TFX, where spans are dates


class Span(NamedTuple):
    """What the pattern matches: the newest version of a span."""

    number: int  # TFX's: days since 1970, or what stands for {SPAN}
    version: int | None  # None where the pattern has none
    path: Path
    is_date: bool

    @property
    def name(self) -> str:
        """A date, or the number."""
        if not self.is_date:
            return str(self.number)
        from tfx.components.example_gen.utils import span_number_to_date

        return "{:04d}-{:02d}-{:02d}".format(*span_number_to_date(self.number))

    @property
    def versioned(self) -> str:
        """The name, with the version where there is one; so the metadata name it."""
        return self.name if self.version is None else f"{self.name} (version {self.version})"


def span_number(versioned: str) -> int:
    """Returns the number of a span that is named as `Span.versioned` has it."""
    name = versioned.partition(" (")[0]
    if "-" not in name:
        return int(name)
    return (date.fromisoformat(name) - _FIRST_DAY).days


def find_spans(pattern: str) -> tuple[list[Span], list[str]]:
    """Finds the newest version of each span.

    Args:
      pattern: a path with ``{SPAN}`` or ``{YYYY}``, ``{MM}`` and ``{DD}``, and perhaps
        ``{VERSION}``, as TFX's ExampleGen takes them.

    Returns:
      The spans by their numbers, and notes on paths that look like spans and are none.

    Raises:
      UserError: the pattern is none, or two paths are the same span.
    """
    from tfx.components.example_gen import utils
    from tfx.dsl.io import fileio
    from tfx.proto import example_gen_pb2

    pattern = str(Path(pattern).expanduser())
    split = example_gen_pb2.Input.Split(name="span", pattern=pattern)
    try:
        specs = utils.verify_split_pattern_specs(split)
        if not any(specs):
            raise ValueError("it has neither {SPAN} nor {YYYY}, {MM} and {DD}")
        # Of a pattern with {SPAN} or a date, TFX offers only the newest one to others.
        glob, regex = utils._create_matching_glob_and_regex("", split, *specs, None)  # noqa: SLF001
    except ValueError as error:
        raise UserError(
            f"Pattern {pattern!r} of dataset.spans is none of TFX's: {error}. Write it as in "
            "pictures/{YYYY}-{MM}-{DD}."
        ) from None
    newest: dict[int, Span] = {}
    others: list[str] = []
    for path in sorted(fileio.glob(glob)):
        try:
            _, number, _, version = utils._find_matched_span_version_from_path(  # noqa: SLF001
                path, f"{regex}$", *specs
            )
        except ValueError:
            others.append(path)
            continue
        known, found = newest.get(number), Span(number, version, Path(path), specs[1])
        if known and known.version == version:
            raise UserError(
                f"{known.path} and {path} of dataset.spans are the same span and version. Remove "
                "one of them."
            )
        if known is None or (version or 0) > (known.version or 0):
            newest[number] = found
    notes = []
    if others:
        notes.append(f"no span, and not looked at: {_some(others)}")
    return [newest[number] for number in sorted(newest)], notes


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


class ChosenSpans(NamedTuple):
    """The spans that a run would be made of now."""

    train: list[Span]
    newest: Span | None  # where it is held out as test
    there: int  # spans that the pattern finds
    notes: list[str]  # on paths that are no spans

    @property
    def all(self) -> list[Span]:
        """Those that are trained on, and the one that is held out."""
        return [*self.train, *([self.newest] if self.newest else [])]


def choose_spans(config: Config) -> ChosenSpans:
    """Finds the spans of the window.

    Args:
      config: its section `dataset` names spans and window.

    Raises:
      UserError: the pattern is none, two paths are the same span, or one is not wholly forgotten.
    """
    dataset = config.dataset
    assert dataset.spans is not None
    forgotten = require_finished(Path(config.root).resolve())
    found, notes = find_spans(dataset.spans)
    if gone := [one for one in found if one.name in forgotten.spans]:
        found = [one for one in found if one not in gone]
        notes.append(
            f"forgotten, and not read: {_some([one.name for one in gone])}; their files are yours "
            "to delete"
        )
    there = len(found)
    newest = found.pop() if found and dataset.newest_as_test else None
    train = found[-dataset.window :] if dataset.window else found
    return ChosenSpans(train, newest, there, notes)


class SpanReader:
    """Reads spans from where they lie, or from what is stored of them below the root."""

    def __init__(
        self,
        config: Config,
        read: Callable[[layout.Layout, Policy], BrowsableSource],
        say: Callable[[str], None],
    ) -> None:
        """Prepares the reader.

        Args:
          config: its section `dataset` says how spans are read.
          read: reads and checks a data set.
          say: is called with a line for each span that was not stored.
        """
        self._dataset, self._read, self._say = config.dataset, read, say
        self.directory = Path(config.root).resolve() / "spans"

    def take(self, name: str, path: Path, version: int | None = None) -> spans.StoredSpan:
        """Returns a span, which is decoded and stored if it was not, or has changed.

        Args:
          name: of the span, or `GOLDEN`.
          path: where it lies.
          version: of the span, where the pattern has one.

        Raises:
          UserError: it cannot be read, or names test pictures.
        """
        dataset = self._dataset
        folder = self.directory / _folder_name(name, version)
        settings = (name, dataset.layout, dataset.image_column, dataset.label_column)
        fingerprint = spans.span_fingerprint(path, settings)
        known = spans.load_span(folder, fingerprint, dataset.policy)
        if known is not None:
            return known
        with scratch_folder("span-") as unpacked:
            kind = "auto" if name == GOLDEN else dataset.layout
            found = layout.layout_of(path, kind, unpacked, dataset.columns)
            source = self._read(found, dataset.policy)
            if name != GOLDEN and (source.splits == TEST).any():
                raise UserError(
                    f"Span {name} in {path} names test pictures, and spans are trained on. Move "
                    "them to dataset.golden."
                )
            again = "again, " if folder.exists() else ""
            spans.store_span(source, name, fingerprint, folder)
        read_span = spans.load_span(folder, fingerprint, dataset.policy)
        assert read_span is not None
        what = "golden set" if name == GOLDEN else f"span {name}"
        self._say(f"{what}: {again}{len(read_span.pictures):,} pictures read")
        return read_span

    def remove_others(self, wanted: Iterable[Span]) -> None:
        """Removes stored spans that the window has left, and old versions; not the golden set.

        Args:
          wanted: spans of the window, and the one that is held out.
        """
        kept = {GOLDEN, *(_folder_name(one.name, one.version) for one in wanted)}
        for path in self.directory.glob("*"):
            if path.name not in kept and not path.is_symlink() and (path / "span.json").is_file():
                shutil.rmtree(path)


def _folder_name(name: str, version: int | None) -> str:
    return name if version is None else f"{name}-version-{version}"


class ConvertedWindow(NamedTuple):
    """What a run is made of."""

    source: EncodedSource
    spans: dict[str, int]  # name of each span, with its version where it has one -> pictures
    notes: tuple[str, ...]


def read_window(
    config: Config,
    fetch: Callable[[str], Path],
    read: Callable[[layout.Layout, Policy], BrowsableSource],
    say: Callable[[str], None],
) -> ConvertedWindow:
    """Reads the window's spans; those that are stored and unchanged are not decoded again.

    Args:
      config: its section `dataset` names spans, window and golden set.
      fetch: returns where an address' files lie on this machine.
      read: reads and checks a data set.
      say: is called with a line for each span that was read, and of the window.

    Raises:
      UserError: there are too few spans, one cannot be read, or one is not wholly forgotten.
    """
    dataset = config.dataset
    found = choose_spans(config)
    chosen, newest, there, notes = found
    if len(chosen) < dataset.min_spans:
        held = f" beside the newest, {newest.name}, which is held out" if newest else ""
        raise UserError(
            f"dataset.spans={dataset.spans} has {len(chosen)} spans to train on{held}, fewer than "
            f"dataset.min_spans={dataset.min_spans}. Wait for more, or lower it."
        )
    reader = SpanReader(config, read, say)
    train = tuple(reader.take(one.name, one.path, one.version) for one in chosen)
    window = spans.Window(
        train,
        reader.take(newest.name, newest.path, newest.version) if newest else None,
        reader.take(GOLDEN, fetch(dataset.golden)) if dataset.golden else None,
    )
    reader.remove_others(found.all)
    source, more = spans.window_source(window, dataset.validation_fraction, dataset.seed)
    names = [one.versioned for one in found.all]
    read_spans = [*train, *([window.newest] if window.newest else [])]
    counts = {name: len(one.pictures) for name, one in zip(names, read_spans, strict=True)}
    notes.append(
        f"window of {len(chosen):,} of {there:,} spans, {names[0]} to "
        f"{names[len(chosen) - 1]}, {sum(len(one.pictures) for one in train):,} pictures"
        + (f"; {names[-1]} is held out as test" if newest else "")
    )
    return ConvertedWindow(source, counts, (*notes, *more))
