"""A warm start against a cold one: steps until it has the other's accuracy."""

from typing import Any, Final

import numpy as np

from benchmarks.days.pictures import Given
from inception_finetune.pipeline.config import Config, load_config

_DAYS: Final = (14, 17)  # trained on by the first model, and by those that follow it
_COLD_EPOCHS: Final = 9


def measure_warm(given: Given, seed: int) -> dict[str, Any]:
    """Trains on a later window from the backbone, and from the last model in a third of the steps.

    What the cold training has reached is its best validation accuracy, at the first epoch that has
    it. The warm one has a third of the steps until then, at the end of which its rate is 0 too.

    Args:
      given: pictures and pipeline.
      seed: of days and trainings.
    """
    from inception_finetune.pipeline import local

    before, after = _DAYS
    seeded = [*given.overrides, f"training.seed={seed}", f"dataset.window={before}"]
    cold_epochs = [*seeded, f"training.epochs={_COLD_EPOCHS}"]
    for day in range(1, before + 1):
        given.write_day(day, np.random.default_rng([3, seed, day]))
    local.run(load_config("cifar10", cold_epochs))
    for day in range(before + 1, after + 1):
        # Without the new class: both have the same to learn.
        given.write_day(day, np.random.default_rng([3, seed, day]), like=1)
    # Refused, so that the warm training does not start from it.
    from_backbone = ["training.start_from=backbone", "gate.min_accuracy=1"]
    cold = _curve(load_config("cifar10", [*cold_epochs, *from_backbone]))
    target = max(row["val_accuracy"] for row in cold)
    [of_cold, *_] = [int(row["step"]) for row in cold if row["val_accuracy"] >= target]
    steps = ["training.epochs=null", f"training.steps={of_cold // 3}"]
    warm = _curve(load_config("cifar10", [*seeded, *steps]))
    return {
        "seed": seed,
        "cold": {"steps": of_cold, "accuracy": target},
        "warm": {"steps": int(warm[-1]["step"]), "accuracy": warm[-1]["val_accuracy"]},
        "curves": {
            name: [(row["step"], row["val_accuracy"]) for row in rows]
            for name, rows in (("cold", cold), ("warm", warm))
        },
    }


def _curve(config: Config) -> list[dict[str, float]]:
    from inception_finetune.components.evaluation.learning_curve import FILE, read_history
    from inception_finetune.components.steps import Step
    from inception_finetune.pipeline import local
    from inception_finetune.pipeline.history.runs import read_latest_run

    local.run(config)
    return read_history(f"{read_latest_run(config).uri(Step.TRAINER, 'model_run')}/{FILE}")
