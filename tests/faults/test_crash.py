"""The whole command, killed with SIGKILL at random points of random steps; ``make test-faults``.

CRASHES says how many times (3 take about 5 minutes on 2 busy cores), CRASH_SEED where, and
FAULT_MINUTES when to stop earlier. Beside it, a reader looks at the served folder all the time.
"""

import os
import random
from itertools import takewhile
from pathlib import Path

import pytest
from command import COPYING, Command, in_time, missing_artifacts, serving, unfinished

from helpers.reader import Reader, digest, numbered, unreadable

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("CRASH_SEED", "0"))
CRASHES = int(os.environ.get("CRASHES", "3"))
EXAMPLES = 1797
COPYING_SECONDS = 0.012  # what the copying takes on a quiet machine


def examples_of_newest_run(place: Path) -> int:
    import tensorflow as tf

    from inception_finetune.components.io.record_index import COMPRESSION

    artifacts = (place / "root/artifacts/ImportExampleGen/examples").iterdir()
    newest = max(artifacts, key=lambda path: int(path.name))
    records = tf.data.TFRecordDataset(sorted(map(str, newest.glob("Split-*/*"))), COMPRESSION)
    return sum(1 for _ in records)


def versions(place: Path) -> dict[str, str]:
    """The hash of each version that a reader would take."""
    return {name: digest(serving(place) / name) for name in numbered(serving(place))}


def test_a_run_killed_anywhere_is_completed_by_the_next_one(tmp_path, recorder):
    reader = Reader(serving(tmp_path))
    reader.start()
    seconds = Command(tmp_path, seed=0).complete()
    assert list(seconds)[1] == "ImportExampleGen" and list(seconds)[-1] == "Pusher"
    seconds[COPYING] = COPYING_SECONDS
    chance = random.Random(SEED)
    steps = [step for step in seconds if step != COPYING]
    chance.shuffle(steps)
    # First, so that few crashes have one of these as well; twice, for what matters most.
    steps = [COPYING, *steps[: len(steps) // 2], COPYING, *steps[len(steps) // 2 :]]
    failures = []
    for number in takewhile(lambda _: in_time(), range(CRASHES)):
        step = steps[number % len(steps)]  # each in turn, so that none is left out
        before = versions(tmp_path)
        delay = chance.uniform(0, seconds[step])
        killed = Command(tmp_path, seed=number + 1).kill(step, delay)
        left = len(unfinished(tmp_path))
        after_kill = versions(tmp_path)
        changed = [name for name in before if after_kill.get(name) != before[name]]
        broken = unreadable(serving(tmp_path), after_kill.keys() - before.keys())
        next_one = Command(tmp_path, seed=number + 1)
        try:
            next_one.complete()
            told = ""
        except AssertionError as error:
            told = str(error).strip().splitlines()[-1]
        after = versions(tmp_path)
        changed += [name for name in after_kill if after.get(name) != after_kill[name]]
        pushed = after.keys() - before.keys()
        broken += unreadable(serving(tmp_path), pushed - after_kill.keys())
        lost = len(changed) + len(broken) + len(missing_artifacts(tmp_path))
        whole = not told and bool(pushed) and examples_of_newest_run(tmp_path) == EXAMPLES
        whole = whole and not unfinished(tmp_path)
        print(
            f"{number}: {step} + {delay:.3f} s, killed={killed}, unfinished={left}, "
            f"{told or 'completed'}",
            flush=True,
        )
        if killed:  # else the run was done before: nothing was tried
            recorder.add(
                "crash",
                # Where nothing was left, the copying was over.
                f"SIGKILL in {step if left or step != COPYING else 'Pusher'}",
                survived=whole and not lost,
                lost=lost,
                message=told or "the next run completes",
            )
        if not whole or lost:
            failures.append((step, delay, told, changed, broken))
    wrong = reader.stop()
    assert reader.seen
    recorder.add(
        "crash",
        "a reader of the served folder, beside all kills",
        tries=len(reader.seen),
        survived=len(reader.seen) - len(wrong),
        lost=len(wrong),
        message=wrong[0]
        if wrong
        else f"each version whole when first seen, never changed; {reader.listings} listings",
    )
    assert not failures and not wrong
