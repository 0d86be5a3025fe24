"""The model card: the page's facts in the Model Card Toolkit's field names, and in Markdown.

Fields: https://github.com/tensorflow/model-card-toolkit, schema v0.0.2.
"""

import json
from typing import Any, Final

from inception_finetune.components import features
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.backbone.settings import STANDIN
from inception_finetune.components.evaluation.measures import ClassScores
from inception_finetune.components.evaluation.metrics import ACCURACY
from inception_finetune.components.model_report.facts import Facts
from inception_finetune.components.model_report.settings import (
    CONFUSION,
    FACTS,
    MATRIX_CLASSES,
    Report,
)
from inception_finetune.components.steps import Step
from inception_finetune.components.web_page.environment import markdown_templates

SCHEMA_VERSION: Final = "0.0.2"
_REFUSALS: Final = 10  # that the limits quote


def as_json(facts: Facts, report: Report) -> str:
    """The model card as ``model_card.json``, in the fields of the Model Card Toolkit."""
    return json.dumps(model_card(facts, report), indent=1)


def as_markdown(facts: Facts, report: Report) -> str:
    """The model card as ``model_card.md``."""
    card = model_card(facts, report)
    return (
        markdown_templates(__package__)
        .get_template("model_card.md")
        .render(card=card, facts=facts, classes=_weakest(facts), csv=CONFUSION)
    )


def model_card(facts: Facts, report: Report) -> dict[str, Any]:
    """The card's fields; those without a value, such as owners, are left out."""
    lineage = facts.lineage
    details: dict[str, Any] = {
        "name": facts.name,
        "overview": report.overview,
        "owners": [{"name": owner} for owner in report.owners],
        "version": {"name": lineage.code_revision or "", "date": facts.created},
        "licenses": [{"identifier": report.license}] if report.license else [],
        "references": [
            *({"reference": address} for address in [_backbone(facts).address] if address),
            {"reference": "https://arxiv.org/abs/1706.04599"},  # expected calibration error
        ],
        "path": lineage.artifacts[Step.TRAINER],
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "model_details": {key: value for key, value in details.items() if value},
        "model_parameters": _parameters(facts),
        "quantitative_analysis": {"performance_metrics": _metrics(facts)},
        "considerations": _considerations(facts),
    }


def _parameters(facts: Facts) -> dict[str, Any]:
    config = facts.lineage.config
    size = config["image"]["size"]
    return {
        "model_architecture": (
            f"{_network(facts)}; a dense head of {len(facts.label_names)} classes"
            + (f"; {facts.start.sentence}" if facts.start else "")
        ),
        "data": [
            {
                "name": split,
                "description": (
                    f"{found.images} images of {facts.lineage.archive} "
                    f"(sha256 {facts.lineage.dataset_fingerprint})"
                    + (f"; {facts.lineage.window}" if facts.lineage.window else "")
                ),
            }
            for split, found in facts.data.splits.items()
        ],
        "input_format": (
            f"PNG or JPEG bytes of any size; resized to {size} x {size} pixels and scaled to "
            "[-1, 1] inside the model"
        ),
        "output_format": "a probability for each class, summing to 1",
        "output_format_map": [
            {"key": str(index), "value": name} for index, name in enumerate(facts.label_names)
        ],
    }


def _backbone(facts: Facts) -> Backbone:
    return NETWORKS[facts.lineage.config["backbone"]["network"]]


def _network(facts: Facts) -> str:
    backbone, first = _backbone(facts), facts.lineage.config["backbone"]["trainable_from"]
    described = f"{backbone.title} ({backbone.reference})" if backbone.reference else backbone.title
    return (
        f"{described}, backbone {facts.lineage.backbone} "
        f"(sha256 {facts.lineage.backbone_fingerprint}), trained from {first} on"
    )


def _weakest(facts: Facts) -> list[ClassScores]:
    """All classes, or of many those that are recognised least."""
    if len(facts.classes) <= MATRIX_CLASSES:
        return list(facts.classes)
    known = [row for row in facts.classes if row.recall is not None]
    return sorted(known, key=lambda row: row.recall or 0.0)[:MATRIX_CLASSES]


def _metrics(facts: Facts) -> list[dict[str, Any]]:
    accuracy = facts.accuracy
    overall: list[dict[str, Any]] = [
        {
            "type": "accuracy",
            "value": f"{accuracy.value:.4f}",
            "confidence_interval": {
                "lower_bound": f"{accuracy.low:.4f}",
                "upper_bound": f"{accuracy.high:.4f}",
            },
        },
        *(
            {"type": name, "value": f"{value:.4f}"}
            for name, value in facts.verdict.metrics.items()
            if name not in (ACCURACY.name, "example_count")
        ),
        {
            "type": "expected_calibration_error",
            "value": f"{facts.calibration.expected_error:.4f}",
        },
    ]
    by_class = [
        {"type": kind, "value": f"{value:.4f}", "slice": f"{features.LABEL}={row.name}"}
        for row in facts.classes
        for kind, value in (("precision", row.precision), ("recall", row.recall), ("f1", row.f1))
        if value is not None
    ]
    return [*overall, *by_class, *_export_metrics(facts)]


def _export_metrics(facts: Facts) -> list[dict[str, Any]]:
    """Of the exports that passed; which were refused, and why, stands among the limits."""
    return [
        {"type": kind, "value": f"{value:.4f}", "slice": f"export={row.name}"}
        for row in (facts.exports.exports if facts.exports else ())
        if row.file
        for kind, value in (("accuracy", row.accuracy), ("agreement", row.agreement))
    ]


def _considerations(facts: Facts) -> dict[str, Any]:
    """Limits that follow from what was measured; what people must judge is theirs to add."""
    test = facts.data.splits[features.TEST]
    limits = [
        f"Every picture gets one of {len(facts.label_names)} labels, one that shows something "
        "else too.",
        f"Measured on {test.images} test images of the data set that it was trained on; pictures "
        "from elsewhere may be harder.",
    ]
    if facts.confidence.unknown:
        limits.append("Of pictures that show something else, a part is called unknown, not all.")
    if facts.test_use_sentence:
        limits.append(facts.test_use_sentence)
    known = [row for row in facts.classes if row.recall is not None]
    if known:
        worst = min(known, key=lambda row: row.recall or 0.0)
        limits.append(f"Weakest class: {worst.name}, of which {worst.recall:.1%} are recognised.")
    limits += [
        f"Recognised less than others: {one.kind} pictures ({one.rule}), "
        f"{one.accuracy.value:.1%} of {one.accuracy.images} against {one.others:.1%}."
        for one in facts.slices
        if one.is_worse
    ]
    if facts.lineage.backbone == STANDIN:
        limits.append("The network is not pretrained: it has seen the train split alone.")
    if not facts.verdict.blessed:
        limits.append("The gate refused this model; it must not go out.")
        refusals = facts.verdict.refusals
        limits += [f"Gate: {refusal}." for refusal in refusals[:_REFUSALS]]
        if len(refusals) > _REFUSALS:
            limits.append(f"Gate: {len(refusals) - _REFUSALS} more bounds are broken; see {FACTS}.")
    if facts.server_check and facts.server_check.refusal:
        limits.append(f"The server check refused this model: {facts.server_check.refusal}")
    if facts.exports:
        limits += [
            f"Export {name} was refused: {why}." for name, why in facts.exports.refused.items()
        ]
    limits += [f"{remark[:1].upper()}{remark[1:]}." for remark in facts.remarks]
    return {"limitations": [{"description": text} for text in limits]}
