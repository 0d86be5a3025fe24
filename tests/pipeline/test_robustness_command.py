"""The command `robustness` on a pushed model, with the pictures of its run."""

import json
import shutil
from datetime import UTC, datetime

import pytest

from inception_finetune.pipeline import robustness as module
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.history import rollback
from inception_finetune.pipeline.inputs import serving_directory

pytestmark = pytest.mark.e2e


@pytest.fixture
def robustness(smallest_config, first_run, run_command):
    """Other tests push newer versions below the same root."""
    return lambda *arguments: run_command(
        "robustness",
        f"root={smallest_config.root}",
        f"cache={smallest_config.cache}",
        *arguments,
    )


def test_a_page_and_facts_of_the_pushed_model(robustness, first_run, tmp_path):
    options = ("--pictures", 8, "--save", tmp_path / "new", "--model", first_run.pushed)
    status, out, _ = robustness(*options)
    assert status == 0 and "not compared: no version was pushed before it" in out
    facts = json.loads((tmp_path / "new" / "robustness.json").read_text())
    assert len(facts["cells"]) == 45 and facts["clean"]["images"] == 8
    assert facts["model"] == str(first_run.pushed)
    assert f"mean: {facts['mean']['value']:.3f}" in out and "Gaussian noise" in out
    assert str(tmp_path / "new" / "robustness.html") in out
    assert "Gaussian noise" in (tmp_path / "new" / "robustness.html").read_text()


def test_a_model_is_compared_by_the_names_of_its_classes(robustness, first_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(first_run.pushed, other)
    options = ("--pictures", 4, "--save", tmp_path / "new", "--model", first_run.pushed)
    options += ("--other", other)
    status, out, _ = robustness(*options)
    assert status == 0
    facts = json.loads((tmp_path / "new" / "robustness.json").read_text())
    assert facts["mean_change"] == {"value": 0, "low": 0, "high": 0}
    labels = other / "assets.extra/labels.txt"
    *lines, last = labels.read_text().splitlines()
    labels.write_text("\n".join([*lines, "9:another"]) + "\n")
    status, out, _ = robustness(*options)
    assert status == 0 and f"other classes: with another, without {last[2:]}" in out


def test_the_version_before_a_restored_one_is_not_the_one_that_it_replaces(tmp_path, monkeypatch):
    """Model 5 is model 2 again, and model 4 may have been trained on its test pictures."""
    config = load_config("digits", [f"root={tmp_path}"])
    serving = serving_directory(config)
    for number in (1, 2, 4, 5, 6):
        (serving / str(number)).mkdir(parents=True)
        (serving / str(number) / "saved_model.pb").touch()
    restored = rollback.Rollback(datetime.now(UTC), restored="2", version="5")
    monkeypatch.setattr(rollback, "read_rollbacks", lambda config: [restored])
    found = {
        number: module._version_before(config, serving / str(number)) for number in (1, 2, 4, 5, 6)
    }
    assert {number: path and path.name for number, path in found.items()} == {
        1: None, 2: "1", 4: "2", 5: "1", 6: "5"
    }  # fmt: skip
    assert module._version_before(config, tmp_path) is None


def test_without_a_pushed_model_or_its_run_one_line_says_so(robustness, first_run, tmp_path):
    status, _, err = robustness(f"root={tmp_path / 'empty'}")
    assert status == 1 and "No pushed model below" in err
    shutil.copytree(first_run.pushed, tmp_path / "strange")
    status, _, err = robustness("--model", tmp_path / "strange", "--save", tmp_path / "new")
    assert status == 1 and "has no run in" in err
