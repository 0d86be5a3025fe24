"""What ModelReport is told besides its input artifacts, and the files that it leaves."""

from typing import Any, Final

from components.settings import Report, Section

# Files of the artifact.
PAGE: Final = "report.html"
FACTS: Final = "facts.json"
CARD_JSON: Final = "model_card.json"
CARD_MARKDOWN: Final = "model_card.md"
CONFUSION: Final = "confusion.csv"  # every pair of classes that was taken for one another

# What the page and the facts hold at most, whatever the number of classes and images.
MATRIX_CLASSES: Final = 40  # that a whole confusion matrix is drawn for
PAIRS: Final = 2000  # confused pairs; more than the cells of the largest matrix
LIKELIEST: Final = 10  # classes of each picture, by probability
THRESHOLDS: Final = 40  # bounds of the gate, those nearest to being broken or beyond


class ReportSettings(Section):
    name: str  # of the pipeline
    label_names: tuple[str, ...]
    report: Report
    config: dict[str, Any]  # the settings that made the model, to be shown
    dataset_fingerprint: str  # sha256 of the archive's pictures, labels and names
    backbone_fingerprint: str  # sha256 of the module's files
    metadata: str | None  # SQLite file where the runner notes how long steps took, if it has one
    code_fingerprint: str  # sha256 of the code that makes the report
