import re

import numpy as np
import pytest

from inception_finetune.components.export.gate import Answers, judge
from inception_finetune.components.export.metadata import ExportMetadata
from inception_finetune.components.export.settings import (
    ExportSection,
    Float32Bound,
    Int8Bound,
)

METADATA = ExportMetadata(format="onnx", label_names=("cat", "dog"), fingerprint="1")
LABELS = np.arange(200) % 2


def answers(wrong=(), shift=0.0) -> Answers:
    """Right about all but those, with 0.9 to the label."""
    shares = np.full([200, 2], 0.1, np.float32)
    said = LABELS.copy()
    said[list(wrong)] = 1 - said[list(wrong)]
    shares[np.arange(200), said] = 0.9
    shares[:, 0] += shift
    return Answers(shares, 1.0, 1)


def test_what_agrees_passes():
    verdict = judge(LABELS, answers(), answers(shift=5e-5), Float32Bound(), (METADATA, METADATA))
    assert (verdict.accuracy, verdict.accuracy_loss, verdict.agreement) == (1, 0, 1)
    assert verdict.difference == pytest.approx(5e-5, rel=1e-2) and not verdict.refusals


@pytest.mark.parametrize(
    ("model", "export", "bound", "reason"),
    [
        (
            answers(),
            answers(shift=2e-4),
            Float32Bound(),
            "largest difference of a probability 0.0002",
        ),
        # One gained and one lost: no loss of accuracy, and not the same labels.
        (answers([0]), answers([1]), Float32Bound(max_difference=None), r"agreement 0\.9900 < 1"),
        (answers(), answers(range(3)), Int8Bound(), r"accuracy loss 0\.0150 > 0\.01"),
        (answers(range(5)), answers(range(5, 10)), Int8Bound(), r"agreement 0\.9500 < 0\.98"),
        (answers(), answers(shift=np.nan), Int8Bound(), "not finite"),
    ],
)
def test_what_differs_by_more_than_is_asked_is_refused(model, export, bound, reason):
    verdict = judge(LABELS, model, export, bound, (METADATA, METADATA))
    assert any(re.search(reason, refusal) for refusal in verdict.refusals)


def test_stale_labels_another_model_and_another_number_of_classes_are_refused():
    stale = METADATA.model_copy(update={"label_names": ("dog", "cat")})
    verdict = judge(LABELS, answers(), answers(), Float32Bound(), (METADATA, stale))
    assert verdict.refusals == ("its label names are not the model's",)
    other = METADATA.model_copy(update={"fingerprint": "2"})
    verdict = judge(LABELS, answers(), answers(), Float32Bound(), (METADATA, other))
    assert verdict.refusals == ("its fingerprint is another model's",)
    narrow = Answers(answers().probabilities[:, :1], 1.0, 1)
    verdict = judge(LABELS, answers(), narrow, Float32Bound(), (METADATA, METADATA))
    assert verdict.refusals == ("it answers (200, 1), the model (200, 2)",)


def test_one_setting_of_a_format_leaves_the_others_of_it():
    section = ExportSection.model_validate({"tflite_int8": {"min_agreement": 0.9}})
    assert section.tflite_int8 == Int8Bound(min_agreement=0.9, max_accuracy_loss=0.01)
    with pytest.raises(ValueError, match="fewer than export.min_test_pictures=100"):
        ExportSection(test_pictures=99)
    with pytest.raises(ValueError, match="onnx, onnx twice"):
        ExportSection(formats=("onnx", "onnx"))
