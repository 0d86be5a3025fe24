"""What a run's report holds, as tests compare it."""

from pathlib import Path

import numpy as np

from inception_finetune.components.model_report.facts import Facts


def earliest(config, node: str, key: str) -> Path:
    """What `node` wrote in the first of all runs."""
    directory = Path(config.root) / "artifacts" / node / key
    return min(directory.iterdir(), key=lambda path: int(path.name))


def dense(facts: Facts) -> np.ndarray:
    """[classes, classes], truth by prediction."""
    matrix = np.diag([row.correct for row in facts.classes])
    for one in facts.confusion:
        matrix[one.truth, one.predicted] = one.images
    return matrix
