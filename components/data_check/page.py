"""The findings as one HTML page that loads nothing from anywhere."""

from collections.abc import Mapping
from typing import Any, Final

from inception_finetune.components import features
from inception_finetune.components.data_check.findings import Findings
from inception_finetune.components.data_check.label_issues import Labels
from inception_finetune.components.data_check.measured import Measured
from inception_finetune.components.data_check.unusual import KINDS
from inception_finetune.components.web_page.data_address import data_address, is_lossless
from inception_finetune.components.web_page.environment import templates

GROUPS: Final = 24  # of copies that are shown
MEMBERS: Final = 6  # of a group
LABELS: Final = 60  # suspected labels that are shown
UNUSUAL: Final = 18  # images of each kind
CLASSES: Final = 60  # rows of the table of classes
PICTURE_SIDE: Final = 128  # pixels


def shown_images(findings: Findings) -> set[str]:
    """Returns the ids of the images that the page shows, so that no others are read."""
    shown = {member for group in findings.copies[:GROUPS] for member in group.members[:MEMBERS]}
    shown.update(findings.wrong_labels[:LABELS])
    for ids in findings.unusual.values():
        shown.update(ids[:UNUSUAL])
    return shown


def render(
    name: str,
    findings: Findings,
    measured: Measured,
    labels: Labels | None,
    encoded: Mapping[str, bytes],
) -> str:
    """Renders the page.

    Args:
      name: the pipeline's.
      findings: that are shown.
      measured: the images.
      labels: of `examine_labels`.
      encoded: the images of `shown_images`, by id.
    """
    place = {identity: index for index, identity in enumerate(measured.ids)}

    def picture(identity: str) -> dict[str, Any]:
        index, source = place[identity], data_address(encoded[identity], PICTURE_SIDE)
        return {
            "id": identity,
            "split": str(measured.splits[index]),
            "label": findings.label_names[measured.labels[index]],
            "size": f"{measured.widths[index]}×{measured.heights[index]}",
            "source": source,
            "small": is_lossless(source),
        }

    issues = labels.issues[:LABELS] if labels else ()
    return (
        templates(__package__)
        .get_template("data_check.html")
        .render(
            name=name,
            findings=findings,
            classes=_classes(findings),
            more_classes=max(0, len(findings.label_names) - CLASSES),
            groups=[
                (group, [picture(one) for one in group.members[:MEMBERS]])
                for group in findings.copies[:GROUPS]
            ],
            issues=[
                (issue, findings.label_names[issue.suggested], picture(measured.ids[issue.image]))
                for issue in issues
            ],
            unusual=[
                (kind, KINDS[kind], len(ids), [picture(one) for one in ids[:UNUSUAL]])
                for kind, ids in findings.unusual.items()
            ],
            across=sum(group.across_test for group in findings.copies),
            test=features.TEST,
        )
    )


def _classes(findings: Findings) -> list[tuple[str, tuple[int, ...]]]:
    rows = zip(*(one.by_label for one in findings.splits), strict=True)
    return list(zip(findings.label_names, rows, strict=True))[:CLASSES]
