"""The month again, some of its passes killed: nothing may be lost or there twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.days.pictures import Given
from inception_finetune.pipeline.config import load_config


def measure_kills(given: Given, seconds: Sequence[float], kills: int) -> dict[str, Any]:
    """Lets the days come, each pass a command, some of them killed at a random moment.

    Args:
      given: pictures and pipeline.
      seconds: of each day's pass in the month that was not killed.
      kills: how many.
    """
    from inception_finetune.pipeline.history.outcome import latest_pushed
    from inception_finetune.pipeline.watch.lines import PUSHED, read_lines

    random = np.random.default_rng(1)
    # A moment of the month: a day by the time that it takes, and a time in it.
    whole = np.array(seconds) + 8.0  # a command loads its libraries first
    moments: dict[int, list[float]] = {}
    for day in random.choice(len(whole), kills, p=whole / whole.sum()):
        moments.setdefault(int(day) + 1, []).append(float(random.uniform(0, whole[day])))
    code = "from inception_finetune.pipeline.cli.main import main; main()"
    command = [sys.executable, "-c", code, "watch", "--once", "-c", "cifar10", *given.overrides]
    killed = late = 0  # late: the pass had ended before its moment, and another day's is killed
    for day in range(1, len(whole) + 1):
        given.write_day(day, np.random.default_rng([0, day]))
        again, late = random.uniform(0, whole[day - 1], late), 0
        for moment in [*moments.get(day, []), *again, None]:
            process = subprocess.Popen(command, start_new_session=True)
            try:
                process.wait(moment)
                late += moment is not None
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                print(f"day {day}: killed after {moment:.1f} s", flush=True)
    config = load_config("cifar10", given.overrides)
    lines = read_lines(config)
    looks: dict[str, list[int]] = {}
    for line in lines:
        if line.look:
            looks.setdefault(line.model, []).append(line.look)
    pushed = [line.version for line in lines if line.verdict == PUSHED]
    newest = latest_pushed(config)
    versions = len(list(newest.parent.iterdir())) if newest else 0
    stored = [path for path in (given.place / "root/spans").iterdir() if path.name != "golden"]
    return {
        "killed": killed,
        "days": len(whole),
        "lines": len(lines),
        "spans of the lines": len({line.span for line in lines}),
        "looks of each model are 1 to n": all(
            found == list(range(1, len(found) + 1)) for found in looks.values()
        ),
        "decided runs": sum(line.decision == "run" for line in lines),
        "of these without a verdict": sum(line.is_open for line in lines),
        "pushed by lines": len(set(pushed)),
        "versions in service's folder": versions,
        "stored spans": len(stored),
    }
