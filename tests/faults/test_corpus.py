"""The corpus of bad inputs: each is fine, left out by name, or one line."""

import re
from pathlib import Path

import numpy as np
import pytest
from bad_files import Case, cases, converted
from bad_pictures import EITHER, FINE, SKIPPED, bad_pictures

from helpers.made_pictures import encoded, write_folder
from inception_finetune.components.errors import UserError

PICTURES = list(bad_pictures())
CASES = list(cases())


def test_the_corpus_is_large_and_no_input_is_there_twice():
    names = [(fault, name) for fault, name, _, _ in PICTURES]
    names += [(case.fault, case.name) for case in CASES]
    assert len(set(names)) == len(names) >= 200


@pytest.fixture(scope="module")
def in_a_folder(tmp_path_factory) -> tuple[set[str], set[str], dict[str, str]]:
    """Ids of what was converted from a folder that holds every picture, by whether it was used."""
    import tensorflow as tf

    from inception_finetune.components import features

    place = tmp_path_factory.mktemp("pictures")
    source = write_folder(place / "in")
    for number, (_, _, data, _) in enumerate(PICTURES):
        (source / f"train/cat/bad-{number:03d}.png").write_bytes(data)
    limits = ("dataset.on_bad_example=skip", "dataset.max_bad_examples=1000")
    manifest = converted(source, place / "out", *limits)
    used = set()
    for path in (place / "out").glob("*.tfrecord"):
        for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            feature = tf.train.Example.FromString(serialized).features.feature
            used.add(feature[features.IMAGE_ID].bytes_list.value[0].decode())
    every = {str(path.relative_to(source)) for path in source.rglob("*.png")}
    return every, used, manifest.skipped


def test_every_picture_is_used_or_listed(in_a_folder):
    every, used, skipped = in_a_folder
    assert used | set(skipped) == every and not used & set(skipped)


def test_pictures_in_a_folder(in_a_folder, recorder):
    every, used, skipped = in_a_folder
    wrong = []
    for number, (fault, name, _, outcome) in enumerate(PICTURES):
        identity = f"train/cat/bad-{number:03d}.png"
        got = FINE if identity in used else SKIPPED
        survived = outcome in (got, EITHER)
        lost = identity not in used and identity not in skipped
        recorder.add(
            "bad data", fault, survived=survived, lost=lost, message=skipped.get(identity, "")
        )
        if not survived:
            wrong.append((fault, name, got))
    assert not wrong


def test_pictures_in_a_request(in_a_folder, recorder):
    """The served graph's decoder gives the same verdict, and the whole ones beside them stay."""
    import tensorflow as tf

    from inception_finetune.components.dataset.picture_formats import format_of
    from inception_finetune.components.image import decoding

    _, used, _ = in_a_folder
    data = [data for _, _, data, _ in PICTURES]
    verdict = tf.function(decoding.are_whole)
    whole = verdict(tf.constant([*data, encoded(1)])).numpy()
    expected = [  # what the conversion makes PNG of is read there alone
        f"train/cat/bad-{number:03d}.png" in used and format_of(one) is None
        for number, one in enumerate(data)
    ]
    for found, same in zip(whole, expected, strict=False):
        recorder.add("serving", "bad picture in a request", survived=found == same)
    np.testing.assert_array_equal(whole, [*expected, True])


def test_what_pictures_promise_takes_no_memory(recorder):
    """The peak of this process while each bomb is refused or read."""
    import tensorflow as tf

    from inception_finetune.components.image import decoding

    verdict = tf.function(decoding.are_whole)
    bombs = [(name, data) for fault, name, data, _ in PICTURES if "memory" in fault]
    verdict(tf.constant([encoded(1)]))
    for name, data in bombs:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is in use
        before = peak_megabytes()
        verdict(tf.constant([data]))
        assert peak_megabytes() - before < 150, name


def peak_megabytes() -> float:
    [line] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.fault}: {case.name}")
def test_damaged_and_hostile_files(case: Case, tmp_path, monkeypatch, recorder):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(elsewhere)
    message = ""
    try:
        case.attempt(tmp_path / "in")
    except UserError as error:
        message = str(error).replace(str(tmp_path), "…")
    fitting = re.search(case.told, message) is not None if case.told else not message
    survived = fitting and "\n" not in message and not list(elsewhere.iterdir())
    half_written = case.told is not None and (tmp_path / "in/out").exists()
    recorder.add("bad data", case.fault, survived=survived, lost=half_written, message=message)
    assert survived, message
    assert not half_written
