"""``python -m benchmarks.scaling``: measures, fits, predicts, writes docs/scaling.md."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.scaling import document
from benchmarks.scaling.measure import (
    IMAGE_SIZE,
    SIZES,
    WHOLE_SIZE,
    WHOLE_SIZES,
    Engine,
    Run,
    run_all,
)

HERE, PROCESSES, FLINK = "in this process", "processes", "Flink"


def main(
    size: Annotated[list[int] | None, typer.Option(help="Images; repeatable.")] = None,
    parallelism: Annotated[list[int] | None, typer.Option(help="Repeatable.")] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help=f"'{HERE}', {PROCESSES}, {FLINK}; repeatable.")
    ] = None,
    job_endpoint: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Flink job server, to measure it as well.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Medians count.")] = 3,
    directory: Annotated[Path, typer.Option(help="For roots and scaling.json.")] = Path(
        "build/scaling"
    ),
    more: Annotated[bool, typer.Option(help="Add to the rounds of scaling.json.")] = False,
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
    if (more or reuse) and not file.exists():
        raise typer.BadParameter(f"{file} is not there yet; measure without --more and --reuse")
    runs = json.loads(file.read_text("utf-8")) if more or reuse else []
    if not reuse:
        plan = [
            (one, images)
            for one in engines(parallelism or [1, 2], job_endpoint)
            if engine is None or one.name in engine
            for images in (size or (WHOLE_SIZES if one.image_size == WHOLE_SIZE else SIZES))
        ]
        if not plan:
            raise typer.BadParameter(f"no such engine: {engine}; {FLINK} needs --job-endpoint")
        for run in run_all(directory, plan, rounds):
            runs.append(asdict(run))  # what was measured is kept, should a later one fail
            file.write_text(json.dumps(runs, indent=2), "utf-8")
    if {IMAGE_SIZE, WHOLE_SIZE} > {run["image_size"] for run in runs}:
        raise typer.BadParameter(f"the document needs runs at {IMAGE_SIZE} and {WHOLE_SIZE} pixels")
    document.write(output, [Run(**run) for run in runs])
    print(f"written: {output}, of {file}")


def engines(parallelism: list[int], job_endpoint: str | None) -> list[Engine]:
    """All that is measured: this machine at both image sizes, and Flink at the small one."""
    found = []
    for number in parallelism:
        processes = ("beam.running_mode=multi_processing", f"beam.parallelism={number}")
        name, flags = (HERE, ()) if number == 1 else (PROCESSES, processes)
        found += [Engine(name, number, flags, size) for size in (IMAGE_SIZE, WHOLE_SIZE)]
        if job_endpoint:
            flink = ("beam.runner=flink", f"beam.job_endpoint={job_endpoint}")
            of_flink = (*flink, f"beam.parallelism={number}")
            found.append(Engine(FLINK, number, of_flink, IMAGE_SIZE))
    return sorted(found, key=lambda engine: engine.image_size)


if __name__ == "__main__":
    typer.run(main)
