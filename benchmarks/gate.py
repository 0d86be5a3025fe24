"""``python -m benchmarks.gate``: how many models the gate lets pass, by how much worse they are.

Before: the accuracies are compared. After: the paired test. Pairs of models are drawn, not trained.
"""

from typing import Final

import numpy as np

from inception_finetune.components.evaluation.measures import loss_p_value
from inception_finetune.components.evaluation.settings import Gate

PAIRS: Final = 2000  # of models in each cell of the table: a share is known to 0.02
IMAGES: Final = (360, 2000, 10_000)
WORSE: Final = (0.0, 0.005, 0.01, 0.02)  # share of images by which the candidate is worse
# Share of images that one of the models alone gets right: two trainings of one configuration
# that are right on 9 of 10 images, and two models that have less in common.
DIFFERING: Final = (0.08, 0.16)


def passed(images: int, worse: float, differing: float, gate: Gate) -> tuple[float, float]:
    """The share of candidates that pass, by the comparison of accuracies and by the paired test.

    Args:
      images: test images.
      worse: how much lower the candidate's accuracy is in truth.
      differing: share of images that one of the two alone gets right, at least `worse`.
      gate: its tolerated loss and its error rate.

    Returns:
      Before and after, in [0, 1].
    """
    random = np.random.default_rng(0)
    shares = [(differing - worse) / 2, (differing + worse) / 2, 1 - differing]
    gained, lost, _ = random.multinomial(images, shares, PAIRS).T
    before = gained - lost >= -gate.max_accuracy_loss * images
    after = [
        loss_p_value(int(up), int(down), images, gate.max_accuracy_loss) >= gate.error_rate
        for up, down in zip(gained, lost, strict=True)
    ]
    return float(before.mean()), float(np.mean(after))


def main() -> None:
    """Prints a table in Markdown: before and after, in percent."""
    gate = Gate()
    points = " | ".join(f"worse by {100 * worse:g} points" for worse in WORSE)
    print(f"| test images | differing | {points} |")
    print("|---" * (2 + len(WORSE)) + "|")
    for images in IMAGES:
        for differing in DIFFERING:
            cells = [passed(images, worse, differing, gate) for worse in WORSE]
            shares = " | ".join(
                f"{100 * before:.0f} → {100 * after:.0f}" for before, after in cells
            )
            print(f"| {images:,} | {100 * differing:g} % | {shares} |")


if __name__ == "__main__":
    main()
