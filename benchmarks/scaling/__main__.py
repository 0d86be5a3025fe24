"""``python -m benchmarks.scaling``: measures, fits, predicts, writes docs/scaling.md."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.scaling import document
from benchmarks.scaling.measure import SIZES, Engine, Run, run_all
from benchmarks.scaling.model import Assumptions, fit


def main(
    size: Annotated[list[int] | None, typer.Option(help="Images; repeatable.")] = None,
    parallelism: Annotated[list[int] | None, typer.Option(help="Repeatable.")] = None,
    job_endpoint: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Flink job server, to measure it as well.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Medians count.")] = 3,
    directory: Annotated[Path, typer.Option(help="For roots and scaling.json.")] = Path(
        "build/scaling"
    ),
    reuse: Annotated[
        bool, typer.Option(help="Measure nothing; write the document of scaling.json again.")
    ] = False,
    output: Annotated[Path, typer.Option(help="The document.")] = Path("docs/scaling.md"),
) -> None:
    """Cost of each step by number of images and workers."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "scaling.json"
    if reuse:
        report = json.loads(file.read_text("utf-8"))
    else:
        engines = [one for n in parallelism or [1, 2] for one in _engines(n, job_endpoint)]
        measured = run_all(directory, size or list(SIZES), engines, rounds)
        report = {
            "conditions": f"{time.strftime('%Y-%m-%d %H:%M')}, {rounds} round(s), "
            f"{len(os.sched_getaffinity(0))} cores, no GPU",
            "runs": [asdict(run) for run in measured],
        }
    runs = [Run(**run) for run in report["runs"]]
    by_engine: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        by_engine.setdefault((run.engine, run.parallelism), []).append(run)
    fits = {engine: fit(of_engine) for engine, of_engine in by_engine.items()}
    report["fits"] = [
        {"engine": name, "parallelism": number, "steps": {k: asdict(v) for k, v in costs.items()}}
        for (name, number), costs in fits.items()
    ]
    file.write_text(json.dumps(report, indent=2), "utf-8")
    document.write(output, runs, fits, Assumptions(), report["conditions"])
    print(f"written: {file}, {output}")


def _engines(parallelism: int, job_endpoint: str | None) -> list[Engine]:
    if parallelism == 1:
        engines = [Engine("in this process", 1, ())]
    else:
        processes = ("beam.running_mode=multi_processing", f"beam.parallelism={parallelism}")
        engines = [Engine("processes", parallelism, processes)]
    if job_endpoint:
        flink = ("beam.runner=flink", f"beam.job_endpoint={job_endpoint}")
        engines.append(Engine("Flink", parallelism, (*flink, f"beam.parallelism={parallelism}")))
    return engines


if __name__ == "__main__":
    typer.run(main)
