"""The review page of 1,000 classes: bounded, its numbers right, and usable in a browser."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from helpers.made_exports import made_record
from inception_finetune.components import features
from inception_finetune.components.evaluation import measures
from inception_finetune.components.evaluation.confidence import FittedConfidence
from inception_finetune.components.evaluation.verdict import Threshold, Verdict
from inception_finetune.components.infra_validator.settings import ServerCheck
from inception_finetune.components.io.record_index import COMPRESSION
from inception_finetune.components.model_report import card, page
from inception_finetune.components.model_report.facts import (
    Data,
    Facts,
    Lineage,
    SplitFacts,
    confidence,
)
from inception_finetune.components.model_report.settings import Report
from inception_finetune.components.test_predictions.store import Predictions

CLASSES, IMAGES = 1000, 6000


def write_pictures(directory, ids) -> str:
    import tensorflow as tf

    random = np.random.default_rng(1)
    (directory / "Split-test").mkdir()
    with tf.io.TFRecordWriter(str(directory / "Split-test/data.gz"), COMPRESSION) as writer:
        for identity in ids:
            buffer = io.BytesIO()
            pixels = random.normal(128, 12, [96, 96, 3]).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(buffer, "PNG")
            example = tf.train.Example()
            feature = example.features.feature
            feature[features.IMAGE_ID].bytes_list.value.append(identity.encode())
            feature[features.IMAGE_ENCODED].bytes_list.value.append(buffer.getvalue())
            writer.write(example.SerializeToString())
    return str(directory)


def made(classes: int) -> tuple[Facts, Predictions]:
    """Half of the answers are right; 50 images of class 7 are taken for class 8."""
    random = np.random.default_rng(0)
    labels = np.sort(random.integers(0, classes, IMAGES))
    labels[:60] = 7
    said = np.where(random.random(IMAGES) < 0.5, labels, random.integers(0, classes, IMAGES))
    said[:50], said[50:60] = 8, 7
    shares = random.random((IMAGES, classes)).astype(np.float32)
    shares[np.arange(IMAGES), said] = classes
    shares /= shares.sum(axis=1, keepdims=True)
    names = tuple(f"class number {number}" for number in range(classes))
    hits = said == labels
    confused = measures.confusions(labels, said)
    counts = tuple(random.integers(1, 100, classes).tolist())
    split = SplitFacts(
        images=sum(counts), class_counts=counts, mean_bytes=1e4, height=(96, 96), width=(96, 96)
    )
    bounds = tuple(
        Threshold(slice=f"label={i}", metric="accuracy", bound=0.5, value=i / classes)
        for i in range(classes)
    )
    ids = tuple(f"test:{number}" for number in range(IMAGES))
    answers = Predictions(ids, labels, shares, None, labels == 0)
    fitted = FittedConfidence(
        pictures=IMAGES,
        temperature=2.0,
        coverage=0.9,
        smallest_in_set=0.3,
        false_unknown=0.05,
        unknown_from=0.5,
    )
    facts = Facts(
        name="many",
        created="2026-01-01T00:00:00+00:00",
        label_names=names,
        verdict=Verdict(
            blessed=False,
            thresholds=bounds,
            metrics={"accuracy": 0.5, "top_2_accuracy": 0.6, "cross_entropy": 1.0},
        ),
        accuracy=measures.accuracy(hits),
        baseline=None,
        not_compared=None,
        test_use=3,
        remarks=(),
        most_frequent=0.01,
        references={},
        classes=measures.class_scores(labels, said, names),
        confusion=confused[:2000],
        confused_pairs=len(confused),
        calibration=measures.calibration(shares.max(axis=1), hits),
        slices=(),
        confidence=confidence(fitted, answers, hits),
        curves=(),
        data=Data(splits=dict.fromkeys(features.SPLITS, split), anomalies=()),
        steps=(),
        peak_memory_bytes=1,
        exports=None,
        lineage=Lineage(
            archive="made",
            dataset_fingerprint="0" * 64,
            backbone="standin",
            backbone_fingerprint="0" * 64,
            code_revision=None,
            python="3.11",
            packages={"tensorflow": "2", "tfx": "1", "apache-beam": "2"},
            config={
                "backbone": {"network": "inception_v3", "trainable_from": "head"},
                "image": {"size": 75},
            },
            artifacts={"Trainer": "here"},
        ),
    )
    return facts, answers


@pytest.fixture(scope="module")
def many() -> tuple[Facts, Predictions]:
    return made(CLASSES)


@pytest.fixture(scope="module")
def path(many, tmp_path_factory):
    facts, predictions = many
    directory = tmp_path_factory.mktemp("many")
    uri = write_pictures(directory, predictions.ids)
    target = directory / "report.html"
    target.write_text(page.render(facts, predictions, uri, Report()), "utf-8")
    return target


def test_the_page_is_bounded_and_its_worst_pair_is_right(many, path):
    facts, _ = many
    text = path.read_text()
    assert path.stat().st_size < 5e6
    data = json.loads(re.search(r'id="facts">(.*?)</script>', text, re.DOTALL)[1])
    assert data["confusion"][0] == [7, 8, 50] and len(data["confusion"]) == 2000
    assert facts.confused_pairs > 2000 and f"2,000 of {facts.confused_pairs:,} pairs" in text
    assert data["classes"][7][0] == facts.classes[7].images >= 60
    assert data["classes"][7][2] == facts.classes[7].correct >= 10
    assert all(len(one["shares"]) <= 11 for one in data["pictures"].values())
    assert len(data["cells"]["7,8"]) >= 1 and len(data["pictures"]) <= 600
    assert "40 of 1,000 bounds" in text and "500 are broken" in text


def test_facts_and_cards_grow_no_faster_than_the_classes(many):
    facts, _ = many
    assert len(facts.model_dump_json(indent=1)) < 1.5e6
    assert len(card.as_json(facts, Report())) < 1.5e6
    text = card.as_markdown(facts, Report())
    assert len(text) < 1e4 and "The 40 of 1000 classes that are recognised least" in text
    assert "490 more bounds are broken" in text


@pytest.mark.review
@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 360)])
def test_pairs_and_classes_can_be_searched(browser, path, scheme, width):
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(f"file://{path}")
    opened.wait_for_selector("[data-chart=labels] svg")
    row = opened.locator("#pair-table tbody tr").first
    assert row.inner_text().split("\t")[:3] == ["class number 7", "class number 8", "50"]
    row.locator("button").click()
    assert opened.locator("#cell-pictures img").count() >= 1
    assert opened.locator("#class-table tbody tr").count() == 50
    opened.fill("#class-table input", "number 77")
    assert opened.locator("#class-table tbody tr").count() == 11
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    assert said == []
    opened.close()


def test_the_number_of_uses_of_the_test_pictures_is_said(many, path):
    said = f"3 models of this pipeline's root were measured on the {IMAGES:,} test pictures so far"
    facts, _ = many
    assert said in path.read_text().replace("&#39;", "'")
    assert said in card.as_markdown(facts, Report()).replace("\\", "")
    first = facts.model_copy(update={"test_use": 1}).test_use_sentence
    assert first is not None and first.startswith("No other model of this pipeline's root")
    assert facts.model_copy(update={"test_use": None}).test_use_sentence is None


@pytest.mark.parametrize("refusal", [None, "the server ended with SIGABRT. Mend what it says."])
def test_the_server_check_is_on_the_page_and_on_the_card(tmp_path, refusal):
    facts, predictions = made(10)
    figures = {"load_seconds": 9.25, "first_answer_ms": 31.0, "p50_ms": 20.0, "p99_ms": 24.5}
    check = ServerCheck(
        server="tfs | tee log",
        refusal=refusal,
        oldest_serving="2.19",
        protocols=("REST", "gRPC"),
        pictures=8,
        tolerance=0.01,
        largest_difference=0.0000042,
        requests=0 if refusal else 100,
        peak_memory_bytes=1_100_000_000,
        **({} if refusal else figures),
    )
    facts = facts.model_copy(update={"server_check": check})
    examples = write_pictures(tmp_path, ["other"])
    html = page.render(facts, predictions, examples, Report(pictures=0))
    section = re.search(r'<section id="server">.*?</section>', html, re.DOTALL)[0]
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td.*?</td>", section)]
    measured = ["–"] * 4 if refusal else ["9.2", "31.0", "20.0", "24.5"]
    assert cells[1:] == ["8", "4.2e-06", *measured, "1,100"]
    assert ("Refused by the server check" in html) == bool(refusal)
    assert ("REST and gRPC; the percentiles are of 100 requests" in section) != bool(refusal)
    markdown = card.as_markdown(facts, Report())
    row = " | ".join(("8", "4.2e-06", *measured, "1,100"))
    assert f"| tfs \\| tee log | {row} |\n" in markdown
    limit = f"The server check refused this model: {refusal}"
    assert (limit in markdown) == bool(refusal)
    without = card.as_markdown(facts.model_copy(update={"server_check": None}), Report())
    assert "## Server check" not in without


def with_exports(*, blessed: bool) -> tuple[Facts, Predictions]:
    facts, predictions = made(10)
    verdict = facts.verdict.model_copy(update={"blessed": blessed})
    update = {"exports": made_record(), "verdict": verdict}
    return facts.model_copy(update=update), predictions


@pytest.mark.parametrize("blessed", [True, False])
def test_exports_are_a_table_with_what_was_refused_and_why(tmp_path, blessed):
    facts, predictions = with_exports(blessed=blessed)
    text = page.render(facts, predictions, write_pictures(tmp_path, predictions.ids), Report())
    table = re.search(r'<table id="export-table">(.*?)</table>', text, re.DOTALL)[1]
    rows = [
        [cell.strip() for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    ]
    assert rows[1:] == [
        ["SavedModel", "0.8560", "", "", "", "91.4", "61.6", "1,044", ""],
        ["onnx", "0.8560", "0.0000", "1.0000", "0.0000088", "87.3", "11.6", "391", "holds"],
        ["tflite-int8", "0.8321", "0.0239", "0.9712", "0.4", "22.4", "6.9", "131", "refused"],
        ["tflite-float16", *["–"] * 7, "refused"],
    ]
    plain = " ".join(re.sub("<[^>]*>", "", text).split())
    assert "tflite-int8 refused: agreement 0.9712 &lt; 0.98; accuracy loss 0.0239" in plain
    assert "beside the model itself on 1,234 test images" in plain and "<b>no op" not in text
    assert ("Those that hold are pushed with it" in plain) == blessed
    assert ("None is pushed" in plain) != blessed


def test_a_page_without_exports_says_nothing_of_them(many, path):
    assert many[0].exports is None
    assert 'id="export-table"' not in path.read_text() and 'href="#exports"' not in path.read_text()
    assert "Exports" not in card.as_markdown(many[0], Report())


def test_the_card_has_the_exports_and_refusals_are_limits():
    facts, _ = with_exports(blessed=True)
    markdown = card.as_markdown(facts, Report())
    assert (
        "| onnx | 0.8560 | 0.0000 | 1.0000 | 0.0000088 | 87.3 | 11.6 | 391.0 | holds |" in markdown
    )
    assert r"| tflite-float16 | – | – | – | – | – | – | – | refused: Model cannot be" in markdown
    found = json.loads(card.as_json(facts, Report()))
    limits = [one["description"] for one in found["considerations"]["limitations"]]
    assert "Export tflite-int8 was refused: agreement 0.9712 < 0.98; accuracy loss 0.0239 > " in (
        " ".join(limits)
    )
    measured = found["quantitative_analysis"]["performance_metrics"]
    assert [one for one in measured if one.get("slice", "").startswith("export")] == [
        {"type": "accuracy", "value": "0.8560", "slice": "export=onnx"},
        {"type": "agreement", "value": "1.0000", "slice": "export=onnx"},
    ]
