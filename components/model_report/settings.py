"""The configuration's section `report`, what ModelReport is given, and the files it writes."""

from typing import Annotated, Any, Final

from pydantic import Field

from inception_finetune.components.settings import Section

# Files of the artifact.
PAGE: Final = "report.html"
FACTS: Final = "facts.json"
CARD_JSON: Final = "model_card.json"
CARD_MARKDOWN: Final = "model_card.md"
CONFUSION: Final = "confusion.csv"  # every pair of classes that was taken for one another

TEST_USE: Final = "test_use"  # property of the artifact: the model's number on its test pictures

# What the page and the facts hold at most, whatever the number of classes and images.
MATRIX_CLASSES: Final = 40  # that a whole confusion matrix is drawn for
PAIRS: Final = 2000  # confused pairs; more than the cells of the largest matrix
MEASURED_PICTURES: Final = 10_000  # whose brightness and the like are measured
LIKELIEST: Final = 10  # classes of each picture, by probability
THRESHOLDS: Final = 40  # bounds of the gate, those nearest to being broken or beyond


class Report(Section):
    """What the review page and the model card say besides what was measured."""

    overview: str = ""  # what the model is for, in a sentence
    owners: tuple[str, ...] = ()  # who answers for it
    license: str = ""  # SPDX identifier, such as Apache-2.0
    # Accuracies to compare with, by whose they are.
    references: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    pictures_per_cell: int = Field(12, ge=0)  # of the confusion matrix, the most confident ones
    pictures: int = Field(600, ge=0)  # in all; each takes 2 to 5 KB of the page
    picture_size: int = Field(96, ge=16)  # longest side in pixels, where they are larger


class ReportSettings(Section):
    """The parameter `settings` of ModelReport, as JSON."""

    name: str  # of the pipeline
    label_names: tuple[str, ...]
    report: Report
    config: dict[str, Any]  # the settings that made the model, to be shown
    backbone_fingerprint: str  # sha256 of the module's files
    metadata: str | None  # SQLite file where the runner notes how long steps took, if it has one
    code_fingerprint: str  # sha256 of the code that makes the report
