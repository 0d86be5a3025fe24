"""docs/scaling.md, from measurements alone."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.scaling import chart
from benchmarks.scaling.measure import IMAGE_SIZE, SIZES, WHOLE_SIZE, Run
from benchmarks.scaling.model import (
    NETWORK,
    WHOLE,
    Assumptions,
    Cost,
    feature_bytes,
    fit,
    predict,
)
from inception_finetune.components.steps import Step

TARGETS: Final = {"CIFAR-10": 60_000, "ImageNet": 1_280_000, "100 million": 100_000_000}
WORKERS: Final = (1, 4, 16, 64)
_BUSY = 0.2  # cores
_LINE_POINTS = 30  # of a fitted line, which is a curve on logarithmic axes
_ROW = 56  # bytes of the features' index, for each record, while it is made
_ASSUMED = Assumptions()

Engine = tuple[str, int, int]  # name, parallelism, pixels of the network's input
Fits = Mapping[Engine, Mapping[str, Cost]]


def write(path: Path, runs: Sequence[Run]) -> None:
    """Writes the document, and the chart beside it as .svg."""
    by_engine: dict[Engine, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.image_size):  # rounds come in any order
        by_engine.setdefault(_engine(run), []).append(run)
    fits = {engine: fit(of_engine) for engine, of_engine in by_engine.items()}
    costs = _costs(fits)
    whole = [run for run in runs if run.image_size == WHOLE_SIZE]
    template = Path(__file__).with_name("scaling.md.jinja")
    text = _render(
        template.read_text("utf-8"),
        conditions=_conditions(runs),
        chart=path.with_suffix(".svg").name,
        measured=_measured(by_engine),
        fitted=[_fitted(engine, found) for engine, found in fits.items()],
        predicted=_predicted(costs),
        breaks=_breaks(whole, costs),
        assumed=_ASSUMED,
        small=IMAGE_SIZE,
        size=WHOLE_SIZE,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    _draw(path.with_suffix(".svg"), by_engine, fits, costs)


def _render(template: str, **values: object) -> str:
    import jinja2

    # A document in Markdown, of our own figures: nothing in it is to be escaped.
    environment = jinja2.Environment(  # noqa: S701
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(**values) + "\n"


def _costs(fits: Fits) -> dict[str, Cost]:
    """Of one worker: steps that run the network at its own size, the others as they are."""
    small = next(found for (_, _, size), found in fits.items() if size == IMAGE_SIZE)
    large = next(found for (_, _, size), found in fits.items() if size == WHOLE_SIZE)
    return {step: (large if step in NETWORK else small)[step] for step in small}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _engine(run: Run) -> Engine:
    return run.engine, run.parallelism, run.image_size


def _named(engine: Engine) -> str:
    name, parallelism, size = engine
    where = "" if size == IMAGE_SIZE else f", {size} pixels"
    return f"{name}, {parallelism} at a time{where}"


def _conditions(runs: Sequence[Run]) -> str:
    rounds: dict[tuple[Engine, int], list[float]] = {}
    for run in runs:
        rounds.setdefault((_engine(run), run.images), []).append(run.seconds[WHOLE])
    busy = max(run.busy_before for run in runs)
    several = [max(times) / min(times) - 1 for times in rounds.values() if len(times) > 1]
    text = (
        f"{_range([run.day for run in runs])}, {_range([run.cores for run in runs])} cores, no "
        f"GPU, runs of each: {_range([len(times) for times in rounds.values()])}; before each, "
        f"others kept at most {busy:.2f} cores busy."
    )
    if several:
        text += f" Runs of the same differ by up to {100 * max(several):.0f} %."
    if busy >= _BUSY or max(run.images for run in runs) < SIZES[-1]:
        text += (
            f" **Preliminary**: other programs ran as well, or there were fewer than {SIZES[-1]:,} "
            "images, so only orders of magnitude hold."
        )
    return text


def _range(values: Sequence[str] | Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _seconds(runs: Sequence[Run], images: int) -> float | None:
    found = [run.seconds[WHOLE] for run in runs if run.images == images]
    return statistics.median(found) if found else None


def _measured(by_engine: Mapping[Engine, Sequence[Run]]) -> str:
    """Seconds, and as a ratio to the first engine with network inputs of that size."""
    sizes = sorted({run.images for runs in by_engine.values() for run in runs})
    rows = []
    for engine, runs in by_engine.items():
        row = [_named(engine)]
        first = next(other for other in by_engine if other[2] == engine[2])
        for images in sizes:
            seconds, base = _seconds(runs, images), _seconds(by_engine[first], images)
            cell = "" if seconds is None else f"{seconds:.0f}"
            if seconds and base and engine != first:
                cell += f" ({seconds / base:.2f})"
            row.append(cell)
        rows.append(row)
    return _table(["engine", *(f"{images:,} images" for images in sizes)], rows)


def _fitted(engine: Engine, costs: Mapping[str, Cost]) -> str:
    rows = [
        [step, f"{cost.fixed:.1f}", f"{1000 * cost.each:.2f}", f"{100 * cost.error:.0f} %"]
        for step, cost in costs.items()
        if cost.fixed + 1000 * cost.each > 0.3
    ]
    return _table([_named(engine), "fixed, s", "each, ms", "error"], rows)


def _predicted(costs: Mapping[str, Cost]) -> str:
    rows = []
    for name, images in TARGETS.items():
        for gpu in (False, True):
            for workers in WORKERS:
                seconds = predict(costs, images, workers, _ASSUMED, gpu=gpu)
                training = seconds[Step.TRAINER]
                shared = sum(seconds.values()) - training
                price = _ASSUMED.gpu_worker_price if gpu else _ASSUMED.worker_price
                cost = (shared * workers + training) / 3600 * price
                rows.append(
                    [
                        f"{name} ({images:,})",
                        f"{workers}{' with GPU' if gpu else ''}",
                        _duration(shared),
                        _duration(training),
                        _duration(shared + training),
                        f"{cost:,.2f}",
                    ]
                )
    return _table(["images", "workers", "shared steps", Step.TRAINER, "whole", "cost"], rows)


def _breaks(runs: Sequence[Run], costs: Mapping[str, Cost]) -> str:
    rows = []
    for name, images in TARGETS.items():
        trainer = predict(costs, images, 1, _ASSUMED, gpu=True)[Step.TRAINER]
        rows.append(
            [
                f"{name} ({images:,})",
                _duration(trainer),
                f"{feature_bytes(runs, images) / 1e9:,.0f} GB",
                f"{images * _ROW / 1e9:,.2f} GB",
                f"{images // 1024 + 1:,}",
            ]
        )
    head = [
        "images",
        "Trainer, one GPU",
        "stored features",
        "their index in memory",
        "shards of 1,024",
    ]
    return _table(head, rows)


def _draw(
    path: Path, by_engine: Mapping[Engine, Sequence[Run]], fits: Fits, costs: Mapping[str, Cost]
) -> None:
    measured: list[chart.Row] = []
    fitted: list[chart.Row] = []
    for engine, runs in by_engine.items():
        name, cost = _named(engine), fits[engine][WHOLE]
        for run in runs:
            row: chart.Row = {
                "engine": name,
                "images": run.images,
                "seconds": run.seconds[WHOLE],
            }
            measured.append(row)
        ends = min(run.images for run in runs), max(run.images for run in runs)
        for images in np.geomspace(*ends, _LINE_POINTS):
            seconds = cost.fixed + cost.each * images
            fitted.append({"engine": name, "images": images, "seconds": seconds})
    predicted: list[chart.Row] = [
        {
            "images": f"{name} ({images:,})",
            "workers": workers,
            "machine": "with a GPU" if gpu else "without a GPU",
            "hours": sum(predict(costs, images, workers, _ASSUMED, gpu=gpu).values()) / 3600,
        }
        for name, images in TARGETS.items()
        for gpu in (False, True)
        for workers in WORKERS
    ]
    chart.write(path, measured, fitted, predicted)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:,.1f} days"
