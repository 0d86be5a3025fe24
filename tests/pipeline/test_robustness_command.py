"""The command `robustness` on a pushed model, with the pictures of its run."""

import json
import shutil

import pytest

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


def test_without_a_pushed_model_or_its_run_one_line_says_so(robustness, first_run, tmp_path):
    status, _, err = robustness(f"root={tmp_path / 'empty'}")
    assert status == 1 and "No pushed model below" in err
    shutil.copytree(first_run.pushed, tmp_path / "strange")
    status, _, err = robustness("--model", tmp_path / "strange", "--save", tmp_path / "new")
    assert status == 1 and "has no run in" in err
