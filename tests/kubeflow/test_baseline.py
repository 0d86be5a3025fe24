"""Which pushed model a candidate is compared with on a cluster."""

from pathlib import Path

import pytest

from inception_finetune.kubeflow.baseline import latest_other


def write_model(folder: Path, weights: str) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("graph")
    (folder / "variables" / "variables.index").write_text(weights)
    return folder


@pytest.fixture
def candidate(tmp_path) -> Path:
    return write_model(tmp_path / "candidate", "c")


@pytest.fixture
def pushed(tmp_path) -> Path:
    return tmp_path / "pushed"


def test_the_first_run_has_none(candidate, pushed):
    assert latest_other(candidate, str(pushed)) is None


def test_the_newest_by_number(candidate, pushed):
    write_model(pushed / "9", "a")
    newest = write_model(pushed / "10", "b")
    assert latest_other(candidate, str(pushed)) == newest


def test_never_the_candidate_itself(candidate, pushed):
    earlier = write_model(pushed / "1", "a")
    write_model(pushed / "2", "c")
    assert latest_other(candidate, str(pushed)) == earlier


def test_a_version_that_is_still_being_pushed_is_not_taken(candidate, pushed):
    whole = write_model(pushed / "1", "a")
    (write_model(pushed / "2", "b") / "saved_model.pb").unlink()
    write_model(pushed / "notes", "n")
    assert latest_other(candidate, str(pushed)) == whole
