"""A step's fingerprint changes with each file that the step imports, and with no other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY
from inception_finetune.components.steps import Step

ADDED = "\n\ndef added():\n    pass\n"
PREDICTORS = {Step.TRUNK_FEATURES, Step.TUNER, Step.TRAINER, Step.TEST_PREDICTIONS}


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(
        shutil.copytree(
            REPOSITORY / "src" / "inception_finetune",
            tmp_path / "inception_finetune",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    )


def fingerprints(copy: Path) -> dict[str, str]:
    code = (
        "import json; from inception_finetune.pipeline import code_fingerprint as module; "
        "print(json.dumps({step: module.code_fingerprint(step) for step in module._ENTRY_MODULES}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(copy.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("file", "text", "steps"),
    [
        ("trainer/step.py", ADDED, {Step.TUNER, Step.TRAINER}),
        ("trainer/tuner.py", ADDED, {Step.TUNER}),
        ("components/example_gen/executor.py", ADDED, {Step.EXAMPLE_GEN}),
        (
            "components/image/exif.py",
            ADDED,
            {Step.TRANSFORM, *PREDICTORS, Step.EXPORT, Step.MODEL_REPORT},
        ),
        ("components/export/tflite_int8.py", ADDED, {Step.EXPORT}),
        ("components/export/record.py", ADDED, {Step.EXPORT, Step.MODEL_REPORT}),
        ("components/image/views.py", ADDED, PREDICTORS - {Step.TEST_PREDICTIONS}),
        ("components/model_report/templates/report.html", "<!-- -->", {Step.MODEL_REPORT}),
        ("components/web_page/templates/page.css", "/**/", {Step.MODEL_REPORT}),
        ("components/run_comparison/templates/comparison.html", "<!-- -->", set()),
        ("components/evaluation/tfma_metrics.py", ADDED, {Step.EVALUATOR}),
        ("components/dataset/convert.py", ADDED, set()),
        ("components/infra_validator/guard.py", ADDED, {Step.INFRA_VALIDATOR}),
        ("pipeline/cli/main.py", ADDED, set()),
        ("trainer/step.py", "\n# a comment\n\n\n", set()),
    ],
)
def test_a_changed_file_changes_the_steps_that_import_it(copy, file, text, steps):
    before = fingerprints(copy)
    with (copy / file).open("a", encoding="utf-8") as target:
        target.write(text)
    after = fingerprints(copy)
    assert {step for step in before if before[step] != after[step]} == steps
    assert before.keys() == after.keys() and len(set(before.values())) == len(before)
