"""Two-sample tests keep to their rate of false alarms and see what changed; records are read."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inception_finetune.components import features
from inception_finetune.components.dataset.class_counts import class_counts
from inception_finetune.components.drift import pictures, records, schema_check
from inception_finetune.components.drift.settings import Drift
from inception_finetune.components.drift.two_sample import (
    label_shift,
    largest_chance_shift,
    maximum_mean_discrepancy,
)
from inception_finetune.components.errors import UserError
from inception_finetune.components.image.schema import curated_schema
from inception_finetune.pipeline.config import load_config


def discrepancy(reference, new):
    return maximum_mean_discrepancy(reference, new, permutations=199, seed=0)


def test_the_discrepancy_is_the_textbooks():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(7, 3)), random.normal(1, size=(5, 3))
    pooled = np.concatenate([x, y])
    squared = ((pooled[:, None] - pooled[None]) ** 2).sum(-1)
    kernel = np.exp(-squared / np.median(squared[np.triu_indices(12, 1)]))
    within_x = [kernel[i, j] for i in range(7) for j in range(7) if i != j]
    within_y = [kernel[i, j] for i in range(7, 12) for j in range(7, 12) if i != j]
    expected = np.mean(within_x) + np.mean(within_y) - 2 * kernel[:7, 7:].mean()
    assert discrepancy(x, y).value == pytest.approx(expected)


def test_features_alarm_no_more_often_than_they_may():
    """200 times the same distribution: about 20 p-values below 0.1, and as many above 0.9."""
    random = np.random.default_rng(1)
    found = [
        discrepancy(random.normal(size=(40, 5)), random.normal(size=(30, 5))).p for _ in range(200)
    ]
    assert 8 <= sum(p <= 0.1 for p in found) <= 35  # binomial, but for 1 case in 500
    assert 8 <= sum(p >= 0.9 for p in found) <= 35
    shifted = discrepancy(random.normal(size=(40, 5)), random.normal(1, size=(30, 5)))
    assert shifted.p == pytest.approx(1 / 200)


def test_equal_vectors_are_no_difference():
    assert discrepancy(np.ones((20, 4)), np.ones((9, 4))).p == 1


def test_of_few_pictures_an_alarm_is_no_rarer_than_divisions_are():
    """2 of 10 can be chosen in 45 ways: rounding must not make the observed one stand alone."""
    random = np.random.default_rng(0)
    for seed in range(60):
        drawn = random.normal(size=(10, 5))
        found = [
            maximum_mean_discrepancy(drawn[:cut], drawn[cut:], permutations=2000, seed=seed).p
            for cut in (2, 8)
        ]
        assert min(found) > 0.5 / 45


def test_shares_that_moved_as_far_the_other_way_are_as_extreme():
    p = label_shift(np.array([9, 0]), np.array([5, 7]), permutations=4000, seed=0).p
    exact = 3 / 190  # half as much without the other way
    assert p == pytest.approx(exact, abs=3 * np.sqrt(exact / 4000))


def test_a_shift_by_chance_is_what_multinomials_do():
    shares = np.array([0.5, 0.3, 0.2])
    allowed = largest_chance_shift(
        (shares * 4000).astype(int), (shares * 300).astype(int), level=0.05,
        permutations=4000, seed=0,
    )  # fmt: skip
    random = np.random.default_rng(2)
    drawn = random.multinomial(300, shares, 3000) / 300, random.multinomial(4000, shares, 3000)
    shifts = np.abs(drawn[0] - drawn[1] / 4000).max(axis=1)
    assert (shifts > allowed).mean() == pytest.approx(0.05, abs=0.015)


def test_settings_must_give_p_values_that_are_fine_enough():
    with pytest.raises(
        UserError, match="too few for drift.false_alarm: at least 20 / 0.001 = 20000"
    ):
        load_config("digits", ["drift.false_alarm=0.001"])


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def ignore(n: int, note: str = "") -> None:
    pass


def test_statistics_of_pictures_are_pillows_and_numpys():
    pixels = np.random.default_rng(0).integers(0, 256, [20, 30, 3])
    measured = pictures.measure([png(pixels), b"no picture", b""], ignore)
    assert measured.readable.tolist() == [True, False, False]
    found = dict(zip(pictures.STATISTICS, measured.statistics[0], strict=True))
    assert (found["width"], found["height"]) == (30, 20)
    luma = np.asarray(Image.fromarray(pixels.astype(np.uint8)).convert("L"))
    assert found["brightness"] == pytest.approx(luma.mean(), abs=0.6)
    assert found["contrast"] == pytest.approx(luma.std(), abs=0.6)
    assert found["green mean"] == pytest.approx(pixels[..., 1].mean())
    assert found["blue deviation"] == pytest.approx(pixels[..., 2].std())


def write_records(path, serialized) -> str:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in serialized:
            writer.write(record)
    return str(path)


def test_each_record_is_as_likely_in_the_sample(tmp_path):
    import tensorflow as tf

    serialized = []
    for number in range(50):
        example = tf.train.Example()
        example.features.feature["number"].int64_list.value.append(number)
        serialized.append(example.SerializeToString())
    files = [
        write_records(tmp_path / "a.tfrecord", serialized[:30]),
        write_records(tmp_path / "b.tfrecord", serialized[30:]),
    ]
    assert records.record_files([tmp_path]) == files
    drawn = np.zeros(50, int)
    for seed in range(100):
        sample = records.sample_records(files, 10, seed, ignore)
        assert sample.total == 50 and len(set(sample.serialized)) == 10
        drawn[[serialized.index(one) for one in sample.serialized]] += 1
    assert drawn.sum() == 1000 and drawn.min() >= 6 and drawn.max() <= 36  # 20 each, 4 deviations
    everything = records.sample_records(files, 100, 0, ignore)
    assert everything.serialized == tuple(serialized)


@pytest.mark.parametrize("damage", ["cut", "foreign", "flipped"])
def test_damaged_records_are_named(tmp_path, examples, damage):
    path = tmp_path / "new.tfrecord"
    whole = [*examples.serialized[:3], b"\xff\xff\xff" if damage == "foreign" else b"0" * 99]
    write_records(path, whole)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    if damage == "flipped":
        path.write_bytes(path.read_bytes()[:-50] + b"1" + path.read_bytes()[-49:])
    said = {
        "cut": f"{path} ends in the middle of a record",
        "foreign": f"Record 4 of {path} is not a whole tf.train.Example",
        "flipped": f"Record 4 of {path} is not a whole .*it does not fit its checksum",
    }
    with pytest.raises(UserError, match=said[damage]) as failure:
        records.sample_records([str(path)], 10, 0, ignore)
    assert "\n" not in str(failure.value)


def test_other_features_of_a_record_are_not_counted(tmp_path, examples):
    """However many: statistics of each would take memory and minutes."""
    import tensorflow as tf

    from inception_finetune.pipeline.local import in_memory_beam

    example = tf.train.Example.FromString(examples.serialized[0])
    for number in range(20_000):
        example.features.feature[f"other {number}"].int64_list.value.append(number)
    path = write_records(tmp_path / "wide.tfrecord", [example.SerializeToString()] * 3)
    with in_memory_beam():
        found = schema_check.statistics_of([path], curated_schema(10))
    [statistics] = found.datasets
    names = {feature.path.step[0] for feature in statistics.features}
    assert names == {features.IMAGE_ENCODED, features.LABEL}


def test_places_without_records_are_named(tmp_path):
    with pytest.raises(UserError, match="No such file or folder: gone"):
        records.record_files([Path("gone")])
    with pytest.raises(UserError, match=f"{tmp_path} holds no records: .* must end in "):
        records.record_files([tmp_path])


@pytest.fixture(scope="module")
def statistics(examples, tmp_path_factory):
    """``statistics(labels)`` are TFDV's, of records with these labels."""
    import tensorflow as tf

    from inception_finetune.pipeline.local import in_memory_beam

    def make(labels):
        serialized = []
        for label in labels:
            example = tf.train.Example.FromString(examples.serialized[0])
            values = example.features.feature[features.LABEL].int64_list.value
            values[:] = [] if label is None else [label]
            serialized.append(example.SerializeToString())
        path = tmp_path_factory.mktemp("records") / "some.tfrecord"
        with in_memory_beam():
            return schema_check.statistics_of([write_records(path, serialized)], curated_schema(10))

    return make


def test_a_shift_of_labels_is_seen_and_chance_is_not(statistics):
    random = np.random.default_rng(0)
    train = statistics(random.integers(0, 10, 600))
    even = statistics(random.integers(0, 10, 300))
    uneven = statistics(np.concatenate([np.full(60, 3), random.integers(0, 10, 240)]))

    def check(new, settings=None):
        return schema_check.check_schema(
            new, train, schema_check.given(curated_schema(10)), settings or Drift(), level=0.001
        )

    assert check(even).anomalies == ()
    assert check(even).labels.shift < check(even).labels.allowed < 0.15
    [(name, text)] = check(uneven).anomalies
    assert name == features.LABEL and "Linfty" in text and text.endswith("difference is: 3")
    shares = [labels / labels.sum() for labels in check(uneven).labels[:2]]
    assert check(uneven).labels.shift == pytest.approx(np.abs(shares[0] - shares[1]).max())
    assert check(uneven, Drift(label_shift=0.5)).anomalies == ()  # too little to matter


def test_labels_outside_or_absent_are_anomalies(statistics):
    train = statistics(np.arange(600) % 10)
    schema = schema_check.given(curated_schema(10))
    outside = schema_check.check_schema(
        statistics([*np.arange(100) % 10, 10]), train, schema, Drift(), level=0.001
    )
    assert [name for name, _ in outside.anomalies] == [features.LABEL]
    absent = statistics([None] * 50)
    found = schema_check.check_schema(absent, train, schema, Drift(), level=0.001)
    assert [name for name, _ in found.anomalies] == [features.LABEL]
    unlabelled = schema_check.given(schema, labelled=False)
    found = schema_check.check_schema(absent, train, unlabelled, Drift(), level=0.001)
    assert found.anomalies == () and not found.labels.new.any()


def statistics_of(path, serialized, classes: int = 10):
    from inception_finetune.pipeline.local import in_memory_beam

    with in_memory_beam():
        return schema_check.statistics_of(
            [write_records(path, serialized)], curated_schema(classes)
        )


def bare_record(encoded: bytes, label: int) -> Any:
    import tensorflow as tf

    example = tf.train.Example()
    feature = example.features.feature
    feature[features.IMAGE_ENCODED].bytes_list.value.append(encoded)
    feature[features.LABEL].int64_list.value.append(label)
    return example


@pytest.mark.parametrize("labelled", [True, False])
def test_what_conversion_writes_itself_and_what_others_add_is_no_anomaly(
    statistics, examples, tmp_path, labelled
):
    """Records of docs/data.md's two features, and one of 200,000 others with a foreign format."""
    records_ = [bare_record(examples.encoded[0], number % 10) for number in range(60)]
    foreign = records_[0].features.feature
    foreign[features.IMAGE_FORMAT].bytes_list.value.append(b"JPEG")
    foreign[features.IMAGE_HEIGHT].bytes_list.value.append(b"tall")
    for number in range(200_000):
        foreign[f"[link=javascript:x]{number}"].int64_list.value.append(number)
    found = schema_check.check_schema(
        statistics_of(tmp_path / "new.tfrecord", [one.SerializeToString() for one in records_]),
        statistics(np.arange(600) % 10),
        schema_check.given(curated_schema(10), labelled=labelled),
        Drift(),
        level=0.001,
    )
    assert found.anomalies == () and found.labels.new.tolist() == [6] * 10


def test_each_of_1500_classes_is_counted(examples, tmp_path):
    """TFDV's own default keeps the 1,000 most frequent labels."""
    wanted = np.full(1500, 2)
    wanted[:3] = [1, 5, 4]
    made = statistics_of(
        tmp_path / "many.tfrecord",
        [
            bare_record(examples.encoded[0], int(label)).SerializeToString()
            for label in np.repeat(np.arange(1500), wanted)
        ],
        1500,
    )
    [dataset] = made.datasets
    assert class_counts(dataset, 1500).tolist() == wanted.tolist()
    label = next(one for one in dataset.features if one.path.step == [features.LABEL])
    del label.string_stats.rank_histogram.buckets[1000:]  # as an older version left it
    with pytest.raises(UserError, match="count only 1000 of 1500 labels.*Run the pipeline again"):
        class_counts(dataset, 1500)
