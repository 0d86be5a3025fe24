"""``python -m benchmarks.scaling``: measures, fits, predicts, writes docs/scaling.md."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.scaling import document
from benchmarks.scaling.measure import Engine, Run, run_all
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
    output: Annotated[Path, typer.Option(help="The document.")] = Path("docs/scaling.md"),
) -> None:
    """Cost of each step by number of images and workers."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sizes = size or [1000, 2000, 4000, 8000]
    engines = [
        engine for number in parallelism or [1, 2] for engine in _engines(number, job_endpoint)
    ]
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    runs = run_all(directory, sizes, engines, rounds)
    fits = {
        (engine.name, engine.parallelism): fit([run for run in runs if _by(run, engine)])
        for engine in engines
    }
    loads = [run.load_before for run in runs]
    conditions = (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {len(os.sched_getaffinity(0))} cores, no GPU, "
        f"{rounds} round(s); the machine's load before each run was {min(loads):.1f} to "
        f"{max(loads):.1f}, where 1.0 or more means that other programs ran as well."
    )
    report = {
        "conditions": conditions,
        "runs": [asdict(run) for run in runs],
        "fits": [
            {
                "engine": name,
                "parallelism": number,
                "steps": {k: asdict(v) for k, v in fit_.items()},
            }
            for (name, number), fit_ in fits.items()
        ],
    }
    (directory / "scaling.json").write_text(json.dumps(report, indent=2), "utf-8")
    document.write(output, runs, fits, Assumptions(), conditions)
    print(f"written: {directory / 'scaling.json'}, {output}")


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


def _by(run: Run, engine: Engine) -> bool:
    return (run.engine, run.parallelism) == (engine.name, engine.parallelism)


if __name__ == "__main__":
    typer.run(main)
