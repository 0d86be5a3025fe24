"""What Pipelines' pages draw of a run: metrics, confusion matrix and report, as KFP's own types.

TFX's outputs are of types that these pages show as addresses alone. So Evaluator and ModelReport
declare outputs of KFP's types besides, which their executors do not see: the entry point fills
them in from what the executors wrote. The cells and numbers are metadata, and the report is the
page in ModelReport's own artifact: nothing is stored twice.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kfp import dsl

from inception_finetune.components.model_report.settings import FACTS, MATRIX_CLASSES, PAGE
from inception_finetune.components.steps import Step

METRICS: Final = "metrics"
CONFUSION_MATRIX: Final = "confusion_matrix"
REPORT: Final = "report_page"
REPORT_ARTIFACT: Final = "model_report"  # ModelReport's output
OUTPUTS: Final[Mapping[Step, Mapping[str, type[dsl.Artifact]]]] = {
    Step.EVALUATOR: {METRICS: dsl.Metrics},
    Step.MODEL_REPORT: {CONFUSION_MATRIX: dsl.ClassificationMetrics, REPORT: dsl.HTML},
}


def declare(package: dict[str, Any]) -> None:
    """Adds the outputs to the components of a PipelineSpec.

    Args:
      package: the PipelineSpec as a dictionary; changed in place.
    """
    for step, outputs in OUTPUTS.items():
        name = package["root"]["dag"]["tasks"][step]["componentRef"]["name"]
        component = package["components"][name]
        component["outputDefinitions"]["artifacts"] |= {
            key: {
                "artifactType": {
                    "schemaTitle": kind.schema_title,
                    "schemaVersion": kind.schema_version,
                }
            }
            for key, kind in outputs.items()
        }


def metrics(values: Mapping[str, float]) -> dict[str, Any]:
    """Makes the artifact of metrics.

    Args:
      values: by the metric's name; those that are not finite, which JSON has no numbers for, are
        left out, and named in the task's log.

    Returns:
      What an ExecutorOutput says of it.
    """
    artifact = dsl.Metrics()
    for name, value in sorted(values.items()):
        if math.isfinite(value):
            artifact.log_metric(name, value)
        else:
            print(f"{name}: left out of Pipelines' pages, since it is {value}", flush=True)
    return {"metadata": artifact.metadata}


def confusion_matrix(report: Path) -> dict[str, Any]:
    """Makes the artifact of the confusion matrix of the test images.

    Args:
      report: folder of ModelReport's artifact.

    Returns:
      What an ExecutorOutput says of it: rows are the true classes, columns the predicted ones. It
      says nothing of more than `MATRIX_CLASSES` classes, of which the report has no whole matrix
      either.
    """
    from inception_finetune.components.model_report.facts import Facts

    facts = Facts.model_validate_json((report / FACTS).read_text("utf-8"))
    names = list(facts.label_names)
    if len(names) > MATRIX_CLASSES:
        print(
            f"confusion matrix: left out of Pipelines' pages, since {len(names):,} classes are "
            f"more than {MATRIX_CLASSES}; the report has the pairs",
            flush=True,
        )
        return {}
    cells = [[0] * len(names) for _ in names]
    for label, row in enumerate(facts.classes):
        cells[label][label] = row.correct
    for pair in facts.confusion:
        cells[pair.truth][pair.predicted] = pair.images
    artifact = dsl.ClassificationMetrics()
    artifact.log_confusion_matrix(names, cells)
    return {"metadata": artifact.metadata}


def report_page(place: str) -> dict[str, Any]:
    """Makes the artifact of the report's page.

    Args:
      place: address of ModelReport's artifact.

    Returns:
      What an ExecutorOutput says of it.
    """
    return {"uri": f"{place}/{PAGE}"}
