"""The runs of a pipeline are listed, opened and compared."""

import re
import webbrowser
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inception_finetune.components.model_report.settings import Report
from inception_finetune.components.run_comparison import page
from inception_finetune.components.run_comparison.comparison import (
    Pair,
    Side,
    compare,
    compare_classes,
    compare_metrics,
    measure,
)
from inception_finetune.components.test_predictions.store import Predictions
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.history.review import config_difference, open_page

NAMES = ("cat", "dog & co", "newt")


@pytest.fixture
def run(run_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    return run_command


def png(seed: int) -> bytes:
    import io

    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, [8, 8, 3], np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def side(number: int, said: list[int], pictures: range) -> Side:
    """Five images, truth 0 0 1 1 2; each answer has a probability of 0.8, those after it 0.1."""
    shares = np.full([5, 3], 0.1, np.float32)
    shares[range(5), said] = 0.8
    ids = tuple(f"test:{i}" for i in range(5))
    predictions = Predictions(ids, np.array([0, 0, 1, 1, 2]), shares, None)
    encoded = {identity: png(seed) for identity, seed in zip(ids, pictures, strict=True)}
    return Side(number, number == 2, NAMES, predictions, encoded)


A = side(1, [0, 0, 1, 2, 0], range(5))
B = side(2, [0, 1, 1, 1, 1], range(5))


def test_disagreements_by_who_is_right():
    found = compare(A, B)
    assert found.common == 5
    assert [one.id for one in found.only_a] == ["test:1"]
    assert [one.id for one in found.only_b] == ["test:3"]
    assert [(one.id, one.predicted, one.truth) for one in found.neither] == [
        ("test:4", ("cat", "dog & co"), "newt")
    ]
    assert found.p_value == 1


def test_runs_that_number_their_classes_otherwise_are_compared_by_name():
    """B's classes are numbered backwards; it gives the same answers as before."""
    answers = B.predictions
    backwards = replace(
        B,
        label_names=NAMES[::-1],
        predictions=answers._replace(
            labels=2 - answers.labels, candidate=answers.candidate[:, ::-1]
        ),
    )
    found = compare(A, backwards)
    assert (found.other_classes, found.reclassed) == (None, 0)
    for kind in ("only_a", "only_b", "neither"):
        ours = [(one.id, one.predicted, one.truth) for one in getattr(compare(A, B), kind)]
        assert [(one.id, one.predicted, one.truth) for one in getattr(found, kind)] == ours


def test_images_of_a_renamed_class_are_left_out_and_counted():
    found = compare(A, replace(B, label_names=("cat", "dog & co", "eft")))
    assert (found.common, found.reclassed) == (4, 1)
    assert found.other_classes == "with eft, without newt"
    assert found.neither == ()
    text = page.render("digits", found, {}, Report())
    assert "Run 2 has other classes than run 1: with eft, without newt." in text
    assert "1 test images are of another class in run 2" in text


def test_another_picture_under_the_same_id_is_another_image():
    found = compare(A, side(2, [0, 1, 1, 1, 1], range(3, 8)))
    assert found.common == 0
    assert found.only_a == found.only_b == found.neither == ()


def test_metrics_are_scikit_learns():
    from sklearn.metrics import accuracy_score, f1_score, log_loss, top_k_accuracy_score

    shares, labels = A.predictions.candidate, A.predictions.labels
    found = measure(A)
    assert found["accuracy"] == accuracy_score(labels, shares.argmax(axis=1)) == 3 / 5
    assert found["cross-entropy"] == pytest.approx(log_loss(labels, shares), rel=1e-5)
    distinct = np.random.default_rng(0).dirichlet([1, 1, 1], 5).astype(np.float32)
    other = replace(A, predictions=A.predictions._replace(candidate=distinct))
    top_2 = top_k_accuracy_score(labels, distinct, k=2)
    assert measure(other)["top-2 accuracy"] == pytest.approx(top_2)
    expected = f1_score(labels, shares.argmax(axis=1), average=None)
    found_f1 = [scores["F1"].before for scores in compare_classes(compare(A, B)).values()]
    assert found_f1 == pytest.approx(expected.tolist())


def test_what_is_not_defined_has_no_change():
    """B never says newt, and the last class is known to one run alone."""
    classes = compare_classes(compare(A, replace(B, label_names=("cat", "dog & co", "eft"))))
    assert classes["cat"]["recall"] == Pair(1.0, 0.5)
    assert classes["cat"]["recall"].falls and not classes["cat"]["recall"].rises
    assert classes["eft"]["precision"] == Pair(None, None)
    assert classes["eft"]["recall"] == Pair(None, 0.0) and classes["eft"]["recall"].change is None
    assert classes["newt"]["recall"] == Pair(0.0, None)
    assert compare_metrics(compare(A, B))["accuracy"] == Pair(3 / 5, 3 / 5)


class Addresses(HTMLParser):
    """All that a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_page_holds_everything_and_escapes_names():
    text = page.render("digits", compare(A, B), {"training.epochs": ("1", '"<b>"')}, Report())
    parser = Addresses()
    parser.feed(text)
    assert all(address.startswith(("data:", "#")) for address in parser.found)
    assert sum(address.startswith("data:image/png") for address in parser.found) == 3
    assert "dog &amp; co" in text and "<b>&#34;" not in text and "&lt;b&gt;" in text
    assert "Run 2 is right, run 1 is not: 1" in text
    assert "not blessed" in text and "http" not in text
    assert "No setting differs." in page.render("digits", compare(A, B), {}, Report())
    assert "was not recorded" in page.render("digits", compare(A, B), None, Report())


def test_configurations_differ_by_their_settings_and_not_by_their_places():
    a = load_config("digits", ["root=x", "training.epochs=3"])
    b = load_config("digits", ["root=y", "cache=z", "training.epochs=4", "gate.every_class=true"])
    assert config_difference(a, b) == {
        "training.epochs": ("3", "4"),
        "gate.every_class": ("false", "true"),
    }
    assert config_difference(a, a) == {}
    assert config_difference(None, b) is None


@pytest.mark.parametrize("display", [":0", None])
def test_a_browser_opens_where_there_is_a_display(display, monkeypatch, tmp_path):
    from rich.console import Console

    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    target = tmp_path / "a page.html"
    open_page(target, Console(quiet=True), in_browser=False)
    assert opened == []
    open_page(target, Console(quiet=True), in_browser=True)
    assert opened == ([target.as_uri()] if display else [])


def test_nothing_was_run_yet(run, tmp_path):
    for arguments in ([], ["1"], ["1", "2"]):
        status, out, err = run("review", *arguments, f"root={tmp_path}/empty")
        assert (status, out) == (1, "")
        assert err.startswith("error: Pipeline digits has no run in") and err.count("\n") == 1
    assert not (tmp_path / "empty").exists()


@pytest.mark.e2e
def test_the_list_shows_what_the_run_found(run, smallest_config, first_run):
    status, out, _ = run("review", f"root={smallest_config.root}")
    assert status == 0
    [row] = re.findall(r"^ +1 .*$", out, re.MULTILINE)
    assert f"{first_run.metrics['accuracy']:.4f}" in row
    assert row.split()[4:7] == ["yes", first_run.pushed.name, "1"]  # of the test pictures' uses


@pytest.mark.e2e
def test_the_report_of_a_run_is_where_it_says(run, smallest_config, first_run):
    status, out, _ = run("review", "1", "--no-open", f"root={smallest_config.root}")
    assert (status, out.count("\n")) == (0, 1)
    assert "<html" in Path(out.strip()).read_text()


@pytest.mark.e2e
def test_the_configuration_of_a_run_is_in_the_metadata(smallest_config, first_run):
    from inception_finetune.pipeline.history.runs import read_runs, record

    first = read_runs(smallest_config)[0]
    assert first.config == smallest_config
    record(smallest_config, since=datetime.now(UTC), accuracy=0.5)  # of no run: none is so new
    assert [one.accuracy for one in read_runs(smallest_config)][0] == first.accuracy


@pytest.mark.e2e
def test_a_run_that_failed_is_listed_with_its_step(run, smallest_config, first_run):
    """It is told as it failed, and its configuration is known too."""
    from inception_finetune.components.errors import UserError
    from inception_finetune.pipeline import local

    values = smallest_config.model_dump()
    values["training"]["batch_size"] = 2001
    with pytest.raises(UserError, match="does not fill one batch"):
        local.run(type(smallest_config).model_validate(values))
    status, out, _ = run("review", f"root={smallest_config.root}")
    assert status == 0 and "stopped at Trainer" in out
    assert re.search(r"training\.batch_size +\d+ +2001 *$", out, re.MULTILINE)


@pytest.mark.e2e
def test_a_run_is_like_itself(run, smallest_config, first_run):
    """And its numbers are those that the gate has measured."""
    status, out, _ = run("review", "1", "1", "--no-open", f"root={smallest_config.root}")
    assert status == 0
    assert "They disagree on 0 of 360 common test images" in " ".join(out.split())
    [row] = re.findall(r"^ *accuracy  .*$", out, re.MULTILINE)
    assert row.split()[1] == f"{first_run.metrics['accuracy']:.4f}"
    [row] = re.findall(r"^ *cross-entropy .*$", out, re.MULTILINE)
    assert float(row.split()[1]) == pytest.approx(first_run.metrics["cross_entropy"], abs=1e-4)
    target = Path(out.splitlines()[-1])
    assert target.name == "runs-1-1.html" and "No setting differs." in target.read_text()


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["0"], "runs have the numbers 1 to"),
        (["first"], "No run 'first': runs have the numbers 1 to"),
        (["1", "1", "1"], "3 runs are named: 1 1 1. Name one"),
    ],
)
def test_what_is_no_run_is_one_line(run, smallest_config, first_run, arguments, told):
    status, out, err = run("review", *arguments, f"root={smallest_config.root}")
    assert (status, out) == (1, "")
    assert told in err and err.count("\n") == 1
