"""``python -m benchmarks.scaling``: measures, fits, predicts, writes docs/scaling.md."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.scaling import document
from benchmarks.scaling.measure import (
    SIZES,
    WHOLE_SIZE,
    WHOLE_SIZES,
    Engine,
    Run,
    run_all,
)

HERE = "in this process"


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
    if not reuse:
        plan = [
            (engine, images)
            for engine in engines(parallelism or [1, 2], job_endpoint)
            for images in (size or (WHOLE_SIZES if engine.image_size == WHOLE_SIZE else SIZES))
        ]
        conditions = (
            f"{time.strftime('%Y-%m-%d')}, {rounds} round(s), "
            f"{len(os.sched_getaffinity(0))} cores, no GPU"
        )
        runs = []
        for run in run_all(directory, plan, rounds):
            runs.append(asdict(run))  # what was measured is kept, should a later one fail
            file.write_text(json.dumps({"conditions": conditions, "runs": runs}, indent=2), "utf-8")
    report = json.loads(file.read_text("utf-8"))
    document.write(output, [Run(**run) for run in report["runs"]], report["conditions"])
    print(f"written: {output}, of {file}")


def engines(parallelism: list[int], job_endpoint: str | None) -> list[Engine]:
    """All that is measured: this machine with each parallelism, Flink, and the whole size."""
    found = []
    for number in parallelism:
        processes = ("beam.running_mode=multi_processing", f"beam.parallelism={number}")
        if number == 1:
            found.append(Engine(HERE, 1, ()))
        else:
            found.append(Engine("processes", number, processes))
        if job_endpoint:
            flink = ("beam.runner=flink", f"beam.job_endpoint={job_endpoint}")
            found.append(Engine("Flink", number, (*flink, f"beam.parallelism={number}")))
    return [*found, Engine(HERE, 1, (), WHOLE_SIZE)]


if __name__ == "__main__":
    typer.run(main)
