"""A step that says nothing for long is said to be running still."""

import time

from inception_finetune.pipeline.heartbeat import heartbeat


def test_a_long_step_without_progress_is_said_to_run():
    said = []
    with heartbeat(said.append, every=0.2) as begin:
        begin("StatisticsGen")
        time.sleep(0.5)
        begin("Trainer")  # shows its own progress
        time.sleep(0.5)
        begin("Transform")
    time.sleep(0.3)
    assert [line.split(":")[0] for line in said] == ["StatisticsGen", "StatisticsGen"]
