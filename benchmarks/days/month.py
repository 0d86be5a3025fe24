"""The month itself: what each day costs, why the pipeline ran, and what was seen of the shifts."""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.days.pictures import DAYS, NEW_CLASS_DAY, SHIFTS, Given
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config, load_config


def measure_month(given: Given, days: int) -> dict[str, Any]:
    """Lets the days come one by one, with a pass after each: costs, decisions, windows, delays."""
    from inception_finetune.pipeline.watch.lines import read_lines
    from inception_finetune.pipeline.watch.watch import watch_once

    config = load_config("cifar10", given.overrides)
    rows: list[dict[str, Any]] = []
    for day in range(1, days + 1):
        given.write_day(day, np.random.default_rng([0, day]))
        begun = time.monotonic()
        done = watch_once(config, print)
        seconds = time.monotonic() - begun
        [line] = done.lines
        row: dict[str, Any] = {
            "day": day,
            "seconds": round(seconds, 1),
            "look": line.look,
            "p": line.smallest_p,
        }
        row |= {"test": line.test, "level": line.level, "alarms": line.alarms}
        if done.carried_out:
            row |= {"reason": done.carried_out.reason, "verdict": done.carried_out.verdict}
            row |= _of_run(config, given.pictures.label_names[:-1])
        rows.append(row)
        print(json.dumps({key: row[key] for key in row if key not in ("window", "start")}))
    return {
        "days": rows,
        "delays": delays(rows),
        "lines": [asdict(line) | {"when": str(line.when)} for line in read_lines(config)],
        "metadata_bytes": (given.place / "root/metadata.sqlite").stat().st_size,
    }


def _of_run(config: Config, old: Sequence[str]) -> dict[str, Any]:
    """What the newest run's report says; `old` are the classes that were there all along."""
    from inception_finetune.components.model_report.settings import FACTS
    from inception_finetune.pipeline.history.runs import read_latest_run

    run = read_latest_run(config)
    text = Path(run.uri(Step.MODEL_REPORT, "model_report"), FACTS).read_text("utf-8")
    facts = json.loads(text)
    of_old = [one for one in facts["classes"] if one["name"] in old]
    return {
        "window": sorted(run.spans),
        "computed": sum(
            step["images"] or 0 for step in facts["steps"] if step["name"] == Step.TRUNK_FEATURES
        ),
        "accuracy": facts["accuracy"]["value"],
        "old classes": sum(one["correct"] for one in of_old) / sum(one["images"] for one in of_old),
        "start": facts["start"],
    }


def delays(rows: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """Returns the days from the first of each shift to the first alarm in it; 0 is the same day."""
    starts = {"new class": NEW_CLASS_DAY, **SHIFTS}
    ends = [*list(starts.values())[1:], DAYS + 1]
    return {
        name: next(
            (row["day"] - first for row in rows if first <= row["day"] < end and row["alarms"]),
            None,
        )
        for (name, first), end in zip(starts.items(), ends, strict=True)
    }


def print_month(month: Mapping[str, Any]) -> None:
    """Prints what days cost, a line for each run, and how soon shifts were seen."""
    quiet = [row["seconds"] for row in month["days"] if "reason" not in row]
    print(f"a day without a run: median {statistics.median(quiet):.1f} s")
    for row in month["days"]:
        if "reason" in row:
            print(
                f"day {row['day']}: {row['seconds']:.0f} s, {row['computed']} trunk images, "
                f"{len(row['window'])} spans {row['window'][0]} to {row['window'][-1]}, accuracy "
                f"{row['accuracy']:.3f}, old classes {row['old classes']:.3f}, {row['verdict']}: "
                f"{row['reason']}"
            )
    print(f"days until an alarm: {month['delays']}")
