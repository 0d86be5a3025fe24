"""A gate of every class needs test pictures of every class, and exports need enough of them."""

import pytest

from helpers.made_pictures import good_records, write_records
from inception_finetune.components.dataset.manifest import MANIFEST_FILE
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.inputs import prepare_inputs
from inception_finetune.pipeline.tested_classes import require_tested

NAMES = ("cat", "dog", "fox")


def test_what_has_no_test_picture_is_named(tmp_path):
    shards = {
        "train-00000-of-00001.tfrecord": good_records("train", 4, 0),
        "test-00000-of-00002.tfrecord": good_records("test", 1, 100),
        "test-00001-of-00002.tfrecord": good_records("test", 2, 200),
    }
    write_records(tmp_path, shards)
    require_tested(tmp_path, NAMES[:2])
    with pytest.raises(UserError, match="No test pictures of fox: gate.every_class=true.*Add some"):
        require_tested(tmp_path, NAMES)


def test_it_is_refused_once_converted_and_before_anything_is_trained(tmp_path):
    shards = {
        "train-00000-of-00001.tfrecord": good_records("train", 30, 0),
        "test-00000-of-00001.tfrecord": good_records("test", 1, 100),
    }
    data = write_records(tmp_path / "data", shards)
    places = [f"root={tmp_path}/root", f"cache={tmp_path}/cache", f"dataset.archive={data}"]
    prepare_inputs(load_config("scratch_cnn", places))
    for bound in ("gate.every_class=true", "gate.bounds.smallest_recall.at_least=0.5"):
        with pytest.raises(UserError, match="No test pictures of dog"):
            prepare_inputs(load_config("scratch_cnn", [*places, bound]))
    with pytest.raises(UserError, match=r"1 test pictures in .* fewer than .*pictures=2: exports"):
        enough = ("export.formats=[onnx]", "export.min_test_pictures=2")
        prepare_inputs(load_config("scratch_cnn", [*places, *enough]))
    assert (tmp_path / "root/records" / MANIFEST_FILE).exists()
    assert not (tmp_path / "root/artifacts").exists()
