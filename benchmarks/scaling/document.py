"""docs/scaling.md, from measurements alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.scaling.measure import IMAGE_SIZE, SIZES, Run
from benchmarks.scaling.model import Assumptions, Cost, feature_bytes, predict

TARGETS = {"CIFAR-10": 60_000, "ImageNet": 1_280_000, "100 million": 100_000_000}
WORKERS = (1, 4, 16, 64)
_PIECE = 2048  # images that TrunkFeatures' workers take at a time
_BUSY = 0.2  # cores
_ROW = 56  # bytes of the index, for each record, while it is made

Fits = Mapping[tuple[str, int], Mapping[str, Cost]]


def write(
    path: Path, runs: Sequence[Run], fits: Fits, assumed: Assumptions, conditions: str
) -> None:
    base = next(iter(fits.values()))
    parts = [
        "# Scaling: what was measured, and what follows",
        "Written by `python -m benchmarks.scaling`; change it there.",
        f"Conditions: {_conditions(runs, conditions)}",
        "## Measured",
        f"Seconds of the whole DAG, pictures of 32 pixels, network input of {IMAGE_SIZE} pixels, "
        "trunk up to Mixed_7a, one epoch (medians):",
        _measured(runs),
        "## Fitted cost of each step",
        "`seconds = fixed + images * each`, by least squares of relative errors; `error` is the "
        "largest relative difference between fit and median.",
        *(_fitted(name, parallelism, costs) for (name, parallelism), costs in fits.items()),
        "## Predicted",
        _assumptions(assumed, fits),
        _predicted(base, assumed),
        "## What breaks first",
        _breaks(runs, base, assumed),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n", "utf-8")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _conditions(runs: Sequence[Run], told: str) -> str:
    busy = max(run.busy_before for run in runs)
    text = f"{told}; before each run, others kept at most {busy:.2f} cores busy."
    largest = max(run.images for run in runs)
    if busy >= _BUSY or largest < SIZES[-1]:
        text += (
            f" **Preliminary**: other programs ran as well, or there were fewer than {SIZES[-1]:,} "
            "images, so only orders of magnitude hold. A step with `each` of 0.00 was lost in the "
            "noise, and is predicted as if it were free. To be repeated by "
            "`python -m benchmarks.scaling` where nothing else runs."
        )
    return text


def _measured(runs: Sequence[Run]) -> str:
    import statistics

    sizes = sorted({run.images for run in runs})
    engines = list(dict.fromkeys((run.engine, run.parallelism) for run in runs))
    rows = []
    for engine in engines:
        row = [f"{engine[0]}, {engine[1]} at a time"]
        for size in sizes:
            found = [
                run.seconds["whole command"]
                for run in runs
                if (run.engine, run.parallelism, run.images) == (*engine, size)
            ]
            row.append(f"{statistics.median(found):.0f}" if found else "")
        rows.append(row)
    return _table(["engine", *(f"{size:,} images" for size in sizes)], rows)


def _fitted(name: str, parallelism: int, costs: Mapping[str, Cost]) -> str:
    rows = [
        [step, f"{cost.fixed:.1f}", f"{1000 * cost.each:.2f}", f"{100 * cost.error:.0f} %"]
        for step, cost in costs.items()
        if cost.fixed + 1000 * cost.each > 0.3
    ]
    head = [f"{name}, {parallelism} at a time", "fixed, s", "each, ms", "error"]
    return _table(head, rows)


def _assumptions(assumed: Assumptions, fits: Fits) -> str:
    name, parallelism = next(iter(fits))
    return (
        f"From the fit of {name}, {parallelism} at a time. Assumed, not measured: a worker is a "
        f"machine like the one that was measured; shared steps divide by the number of workers, "
        f"without loss; {assumed.image_size} pixels cost the network "
        f"({assumed.image_size}/{IMAGE_SIZE})² of {IMAGE_SIZE}; a GPU runs the network "
        f"{assumed.gpu_speedup:g} times as fast; the Trainer works {assumed.epochs} epochs on one "
        f"machine; a worker costs {assumed.worker_price:.2f} an hour, with a GPU "
        f"{assumed.gpu_worker_price:.2f} (examples: put in your own), and all are paid "
        "while shared steps run, one while the Trainer does."
    )


def _predicted(costs: Mapping[str, Cost], assumed: Assumptions) -> str:
    rows = []
    for name, images in TARGETS.items():
        for gpu in (False, True):
            for workers in WORKERS:
                seconds = predict(costs, images, workers, assumed, gpu=gpu)
                training = seconds["Trainer"]
                shared = sum(seconds.values()) - training
                price = assumed.gpu_worker_price if gpu else assumed.worker_price
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
    head = ["images", "workers", "shared steps", "Trainer", "whole", "cost"]
    return _table(head, rows)


def _breaks(runs: Sequence[Run], costs: Mapping[str, Cost], assumed: Assumptions) -> str:
    rows = []
    for name, images in TARGETS.items():
        gpu = predict(costs, images, 64, assumed, gpu=True)
        rows.append(
            [
                f"{name} ({images:,})",
                _duration(gpu["Trainer"]),
                f"{feature_bytes(runs, images, assumed) / 1e9:,.0f} GB",
                f"{images * _ROW / 1e9:,.2f} GB",
                f"{images // _PIECE + 1:,}",
                f"{images // 1024 + 1:,}",
            ]
        )
    head = [
        "images",
        "Trainer, one GPU",
        "stored features",
        "their index in memory",
        "TrunkFeatures' pieces",
        "shards of 1,024",
    ]
    return "\n\n".join(
        [
            _table(head, rows),
            "In this order: the Trainer is one machine and takes no part in Beam's scaling "
            "(`training.devices=multi_worker` divides it); then the disk that features lie on "
            "(`feature_cache=false`, or a later `backbone.trainable_from`, needs none or less); "
            "then the index of features, which one process sorts in memory. Fewer than 2,048 "
            "images a worker leave workers idle in TrunkFeatures. Metadata grows with runs, not "
            "with images. The Trainer copies what it reads to its own disk where features are "
            "not stored.",
        ]
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:,.1f} days"
