"""The review page's numbers against scikit-learn's, TFMA's and hand-made ones; what it escapes."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import special
from sklearn import metrics

from helpers.reports import dense, earliest
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.evaluation import measures
from inception_finetune.components.evaluation.confidence import FittedConfidence
from inception_finetune.components.evaluation.metrics import METRICS
from inception_finetune.components.model_report import card, pictures
from inception_finetune.components.model_report.facts import Facts, confidence
from inception_finetune.components.model_report.settings import Report
from inception_finetune.components.test_predictions.store import Predictions, read_predictions
from inception_finetune.components.web_page.data_address import data_address
from inception_finetune.components.web_page.environment import templates


@pytest.fixture(scope="module")
def reported(smallest_config, first_run) -> Path:
    return earliest(smallest_config, "ModelReport", "model_report")


@pytest.fixture(scope="module")
def facts(reported) -> Facts:
    return Facts.model_validate_json((reported / "facts.json").read_text())


@pytest.fixture(scope="module")
def stored(smallest_config, first_run) -> Predictions:
    return read_predictions(str(earliest(smallest_config, "TestPredictions", "predictions")))


def made_predictions(labels: list[int], said: list[int], confidence: list[float]) -> Predictions:
    rows = np.full((len(labels), 3), 0.0, np.float32)
    for row, label, share in zip(rows, said, confidence, strict=True):
        row[:] = (1 - share) / 2
        row[label] = share
    ids = tuple(f"made:{number}" for number in range(len(labels)))
    return Predictions(ids, np.array(labels), rows, None)


@pytest.mark.e2e
def test_the_numbers_are_those_of_scikit_learn(facts, stored):
    said = stored.candidate.argmax(axis=1)
    assert facts.accuracy.value == metrics.accuracy_score(stored.labels, said)
    assert facts.verdict.metrics["accuracy"] == pytest.approx(facts.accuracy.value)
    shares = stored.candidate.astype(np.float64)
    cross_entropy = metrics.log_loss(stored.labels, shares / shares.sum(axis=1, keepdims=True))
    assert facts.verdict.metrics["cross_entropy"] == pytest.approx(cross_entropy, rel=1e-4)
    matrix = metrics.confusion_matrix(stored.labels, said, labels=range(10))
    assert dense(facts).tolist() == matrix.tolist()
    report = metrics.classification_report(
        stored.labels, said, labels=range(10), output_dict=True, zero_division=0
    )
    for label, row in enumerate(facts.classes):
        expected = report[str(label)]
        assert (row.images, row.predicted) == (expected["support"], matrix[:, label].sum())
        for name, value in (("precision", row.precision), ("recall", row.recall)):
            assert (value or 0.0) == pytest.approx(expected[name])
        assert (row.f1 or 0.0) == pytest.approx(expected["f1-score"])


@pytest.mark.e2e
def test_what_the_model_says_of_its_answers_is_measured_on_the_test_pictures(facts, stored):
    found, shares = facts.confidence, stored.candidate
    assert found.fitted.pictures == facts.data.splits["validation"].images
    of_truth = shares[np.arange(len(shares)), stored.labels]
    hits = shares.argmax(axis=1) == stored.labels
    covered = (of_truth >= found.fitted.smallest_in_set) | hits
    assert found.covered.correct == covered.sum()
    assert 1 <= found.set_size <= 10 and (found.single == 1) == (found.set_size == 1)
    assert found.unknown.images == len(shares) and found.unknown.correct == stored.unknown.sum()
    # Two answers of one temperature: the logits' differences are their logarithms' times it.
    before = np.float64(shares) ** found.fitted.temperature
    before /= before.sum(axis=1, keepdims=True)
    expected = measures.calibration(before.max(axis=1), hits).expected_error
    assert found.before.expected_error == pytest.approx(expected, rel=1e-3)


@pytest.mark.e2e
def test_each_mistake_that_is_shown_is_explained_as_the_class_that_was_predicted(reported, facts):
    text = (reported / "report.html").read_text()
    [found] = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', text)
    data = json.loads(found)
    shown = data["pictures"].values()
    wrong = [one for one in shown if one["truth"] != one["predicted"]]
    assert len(wrong) > 10 and all(one["map"] is None for one in shown if one not in wrong)
    for one in wrong:
        assert one["map"]["class"] == facts.label_names[one["predicted"]]
    maps = [one["map"]["source"] for one in wrong if one["map"]["source"]]
    assert len(set(maps)) > len(wrong) / 2
    with Image.open(io.BytesIO(base64.b64decode(maps[0].partition(",")[2]))) as image:
        assert image.size == (7, 7)


def test_the_temperature_is_taken_back_for_the_calibration_before_it():
    logits = np.random.default_rng(0).normal(scale=3, size=(500, 4))
    labels = logits.argmax(axis=1)
    labels[:200] = (labels[:200] + 1) % 4
    cold, hot = (np.float32(special.softmax(logits / one, axis=1)) for one in (1, 3))
    fitted = FittedConfidence(
        pictures=500,
        temperature=3,
        coverage=None,
        smallest_in_set=None,
        false_unknown=None,
        unknown_from=None,
    )
    hits = cold.argmax(axis=1) == labels
    ids = tuple(map(str, range(500)))
    found = confidence(fitted, Predictions(ids, labels, hot, None), hits)
    expected = measures.calibration(cold.max(axis=1), hits).expected_error
    assert found.before.expected_error == pytest.approx(expected, rel=1e-4)
    assert (found.covered, found.set_size, found.unknown) == (None, None, None)


@pytest.mark.e2e
def test_the_confusion_matrix_is_tfmas_with_the_ids_that_it_leaves_out(
    smallest_config, first_run, facts
):
    """TFMA's JSON has no id that is 0: neither class 0 as truth nor as prediction."""
    import tensorflow_model_analysis as tfma

    uri = str(earliest(smallest_config, "Evaluator", "evaluation"))
    plots = dict(tfma.load_eval_result(uri).plots)[()]
    [plot] = [p for p in _nested(plots) if "multiClassConfusionMatrixAtThresholds" in p]
    entries = plot["multiClassConfusionMatrixAtThresholds"]["matrices"][0]["entries"]
    found = np.zeros((10, 10))
    for entry in entries:
        row, column = entry.get("actualClassId", 0), entry.get("predictedClassId", 0)
        found[row, column] = entry["numWeightedExamples"]
    assert found.tolist() == dense(facts).tolist()
    assert found[0].sum() == 36


def _nested(plots):
    for value in plots.values():
        if isinstance(value, dict):
            yield value
            yield from _nested(value)


@pytest.mark.e2e
def test_the_verdict_lists_the_bounds_that_hold_too(facts, smallest_config):
    [threshold] = facts.verdict.thresholds
    assert (threshold.slice, threshold.metric, threshold.change) == ("overall", "accuracy", False)
    assert threshold.bound == pytest.approx(smallest_config.gate.min_accuracy)
    assert threshold.margin == pytest.approx(facts.accuracy.value - 0.15, abs=1e-6)
    assert facts.verdict.blessed and threshold.passed
    assert facts.baseline is None


@pytest.mark.e2e
def test_data_cost_and_lineage_are_what_the_steps_left(facts, smallest_config):
    counts = {split: found.images for split, found in facts.data.splits.items()}
    assert counts == {"train": 1295, "validation": 142, "test": 360}
    classes = [sum(split.class_counts) for split in facts.data.splits.values()]
    assert classes == list(counts.values())
    most = int(np.argmax(facts.data.splits["train"].class_counts))
    assert facts.most_frequent == pytest.approx(facts.classes[most].images / 360)
    assert facts.data.anomalies == ()
    assert [row["step"] for row in facts.curves] == [40, 60]
    seconds = {step.name: step.seconds for step in facts.steps}
    images = {step.name: step.images for step in facts.steps}
    assert (images["Trainer"], images["TrunkFeatures"]) == (60 * 32, 1295 + 142)
    assert seconds["Trainer"] > seconds["ExampleValidator"] > 0
    assert facts.peak_memory_bytes > 2**28
    trained_with = smallest_config.training.identity.model_dump(mode="json")
    assert facts.lineage.config["training"] == trained_with
    assert facts.lineage.archive == "digits"
    assert facts.lineage.packages["tfx"] == "1.21.0"


@pytest.mark.e2e
def test_the_model_card_has_the_toolkits_fields_and_the_pages_numbers(reported, facts):
    card = json.loads((reported / "model_card.json").read_text())
    assert set(card) == {
        "schema_version",
        "model_details",
        "model_parameters",
        "quantitative_analysis",
        "considerations",
    }
    measured = card["quantitative_analysis"]["performance_metrics"]
    accuracy = measured[0]
    assert (accuracy["type"], accuracy["value"]) == ("accuracy", f"{facts.accuracy.value:.4f}")
    assert accuracy["confidence_interval"]["lower_bound"] == f"{facts.accuracy.low:.4f}"
    recalls = {row["slice"]: row["value"] for row in measured if row["type"] == "recall"}
    assert recalls["image/class/label=three"] == f"{facts.classes[3].recall:.4f}"
    markdown = (reported / "model_card.md").read_text()
    assert f"| accuracy | {facts.accuracy.value:.4f} | {facts.accuracy.low:.4f} to" in markdown
    assert f"| {facts.classes[9].name} | 36 |" in markdown


@pytest.mark.e2e
def test_the_page_loads_nothing_from_anywhere(reported):
    text = (reported / "report.html").read_text()
    page = text.replace(text[text.index("</script>") : text.rindex("<script>")], "")
    for outside in ('src="http', 'href="http', "@import", "url(http"):
        assert outside not in page


def test_wilsons_interval_is_the_published_one():
    """Newcombe (1998), table I: 81 of 263, Wilson's score method: 0.2553 to 0.3662."""
    found = measures.accuracy(np.arange(263) < 81)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


def test_mcnemars_test_counts_only_the_images_on_which_models_differ():
    ours = np.array([True] * 90 + [True] * 9 + [False])
    theirs = np.array([True] * 90 + [False] * 9 + [True])
    found = measures.compare(ours, theirs)
    assert (found.gained, found.lost) == (9, 1)
    assert found.p_value == pytest.approx(2 * (1 + 10) / 2**10)  # both tails of 10 fair coins
    assert measures.compare(ours, ours).p_value == 1


def test_the_calibration_error_is_the_weighted_distance_of_its_bins():
    confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    hits = np.array([True, True, True, False, True, False])
    found = measures.calibration(confidences, hits, bins=10)
    assert found.expected_error == pytest.approx(4 / 6 * 0.2 + 2 / 6 * 0.05)
    filled = {round(one.low, 1): one.images for one in found.bins if one.images}
    assert filled == {0.5: 2, 0.9: 4}


def test_classes_that_never_occur_have_rows_and_no_made_up_scores():
    labels, said = np.array([0, 0, 1]), np.array([0, 1, 1])
    assert measures.confusions(labels, said) == (
        measures.Confusion(truth=0, predicted=1, images=1),
    )
    *_, never = measures.class_scores(labels, said, ["a", "b", "c"])
    assert (never.images, never.predicted) == (0, 0)
    assert (never.precision, never.recall, never.f1) == (None, None, None)


def test_every_cell_gets_a_picture_before_any_gets_two():
    predictions = made_predictions(
        [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0], [0.9, 0.8, 0.7, 0.95, 0.6, 0.99]
    )
    choice = pictures.choose(predictions, Report(pictures=10, pictures_per_cell=2))
    assert choice.mistakes == (5, 3)  # the most confident first
    assert choice.least_confident == (4, 2, 1, 0)  # the least confident first
    assert choice.cells == {(0, 1): (3,), (1, 0): (5,), (0, 0): (0,), (1, 1): (4,)}


def test_pictures_are_small_and_small_ones_are_kept_as_they_are():
    def address(width: int, height: int) -> tuple[str, Image.Image]:
        import base64

        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (10, 200, 30)).save(buffer, "PNG")
        kind, data = data_address(buffer.getvalue(), 96).split(";base64,")
        return kind, Image.open(io.BytesIO(base64.b64decode(data)))

    kind, small = address(32, 32)
    assert (kind, small.size, small.getpixel((5, 5))) == ("data:image/png", (32, 32), (10, 200, 30))
    kind, large = address(400, 200)
    assert (kind, large.size) == ("data:image/jpeg", (96, 48))


def test_names_from_the_data_set_cannot_become_html(facts, tmp_path):
    """Label names, ids and settings are escaped, in the page's text and in its data."""
    hostile = "</script><img src=x onerror=alert(1)>"
    names = (hostile, *facts.label_names[1:])
    classes = (facts.classes[0].model_copy(update={"name": hostile}), *facts.classes[1:])
    page = templates(card.__package__).get_template("report.html").render(
        facts=facts.model_copy(update={"name": hostile, "label_names": names, "classes": classes}),
        metrics=METRICS.values(),
        config=hostile,
        script="",
        data={"labels": names, "pictures": {0: {"id": hostile}}},
        thresholds=facts.verdict.thresholds,
        whole=True,
        explained="",
        limits={"likeliest": 10, "facts": "facts.json", "csv": "confusion.csv"},
    )  # fmt: skip
    assert "<img src=x" not in page and page.count("&lt;img src=x") >= 2


@pytest.mark.e2e
def test_names_cannot_become_html_or_markdown_in_the_card(facts):
    hostile = "<script>x</script> ![x](http://evil.invalid/x.png)|`a`"
    classes = (facts.classes[0].model_copy(update={"name": hostile}), *facts.classes[1:])
    markdown = card.as_markdown(facts.model_copy(update={"classes": classes}), Report())
    assert "<script" not in markdown and "![" not in markdown and "](" not in markdown
    assert "&lt;script&gt;x&lt;/script&gt; \\!\\[x\\]\\(http" in markdown


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("network", "cited"),
    [("inception_v3", "1512.00567"), ("inception_v4", "1602.07261"), ("scratch_cnn", None)],
)
@pytest.mark.parametrize("handle", ["standin", "a/module"])
def test_the_card_cites_the_network_in_use(facts, network, cited, handle):
    config = facts.lineage.config
    config = {**config, "backbone": {**config["backbone"], "network": network}}
    lineage = facts.lineage.model_copy(update={"backbone": handle, "config": config})
    found = card.model_card(facts.model_copy(update={"lineage": lineage}), Report())
    links = [row["reference"] for row in found["model_details"]["references"]]
    expected = [f"https://arxiv.org/abs/{cited}"] if cited else []
    assert links == [*expected, "https://arxiv.org/abs/1706.04599"]
    assert NETWORKS[network].title in found["model_parameters"]["model_architecture"]
    limits = json.dumps(found["considerations"])
    assert ("not pretrained" in limits) == (handle == "standin")
