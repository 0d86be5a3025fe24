"""What ModelReport is told besides its input artifacts, and the files that it leaves."""

from typing import Any, Final

from components.settings import Report, Section

# Files of the artifact.
PAGE: Final = "report.html"
FACTS: Final = "facts.json"
CARD_JSON: Final = "model_card.json"
CARD_MARKDOWN: Final = "model_card.md"


class ReportSettings(Section):
    name: str  # of the pipeline
    label_names: tuple[str, ...]
    report: Report
    config: dict[str, Any]  # the settings that made the model, to be shown
    dataset_fingerprint: str  # sha256 of the archive's pictures, labels and names
    backbone_fingerprint: str  # sha256 of the module's files
    metadata: str | None  # SQLite file where the runner notes how long steps took, if it has one
    code_fingerprint: str  # sha256 of the code that makes the report
