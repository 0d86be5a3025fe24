"""``make check`` refuses what could run somebody else's code: ruff's rules are on."""

import json
import subprocess
import sys

import pytest

from helpers.paths import REPOSITORY as ROOT


def broken_rules(*arguments: str, source: str | None = None) -> list[str]:
    """As ``make check`` runs ruff, with this project's settings."""
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=json", *arguments],
        input=source,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return [problem["code"] for problem in json.loads(checked.stdout)]


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("import subprocess\nsubprocess.run(INPUT, shell=True)", "S602"),
        ("import os\nos.system(INPUT)", "S605"),
        ("eval(INPUT)", "S307"),
        ("exec(INPUT)", "S102"),
        ("import pickle\npickle.loads(INPUT)", "S301"),
        ("import yaml\nyaml.load(INPUT, yaml.Loader)", "S506"),
        ("import tarfile\ntarfile.open(INPUT).extractall()", "S202"),
    ],
)
def test_a_statement_that_could_run_anything_is_refused(statement, rule):
    source = f"INPUT = input()\n{statement}\n"
    assert rule in broken_rules("--stdin-filename=components/x.py", "-", source=source)


def test_the_source_has_none_and_no_exemption_from_these_rules():
    packages = ("components", "trainer", "pipeline", "kubeflow", "benchmarks")
    rules = "--select=S102,S202,S301,S302,S307,S506,S602,S604,S605"
    assert broken_rules("--ignore-noqa", rules, *packages) == []
