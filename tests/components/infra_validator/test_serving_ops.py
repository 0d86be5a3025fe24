"""Operations that the oldest promised TensorFlow Serving lacks are named."""

import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from inception_finetune.components.infra_validator.check import check_server
from inception_finetune.components.infra_validator.serving_ops import (
    OLDEST_SERVING,
    find_unknown_operations,
    why_not_servable,
)
from inception_finetune.components.infra_validator.settings import InfraSection
from inception_finetune.pipeline.kubeflow_settings import Serving


def changed(model: Path, target: Path, change) -> Path:
    """A copy whose graph is changed by `change(nodes of all functions)`."""
    shutil.copytree(model, target)
    path = target / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    library = saved.meta_graphs[0].graph_def.library
    change([node for function in library.function for node in function.node_def])
    path.write_bytes(saved.SerializeToString())
    return target


def test_what_the_pipeline_exports_is_known(brightness_model):
    assert find_unknown_operations(brightness_model) == ()


def test_the_promise_is_the_image_of_our_manifests():
    assert Serving().image.startswith(f"tensorflow/serving:{OLDEST_SERVING}.")


def test_an_operation_that_is_newer_is_named(tmp_path):
    """TensorFlow 2.20 has brought it; this TensorFlow exports it without a word."""

    class Newer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
        def __call__(self, picture):
            return tf.raw_ops.DecodeWebP(contents=picture)

    tf.saved_model.save(Newer(), str(tmp_path / "model"))
    assert find_unknown_operations(tmp_path / "model") == ("DecodeWebP",)


def test_custom_operations_and_newer_attributes_are_named(brightness_model, tmp_path):
    def change(nodes) -> None:
        [mean, *_] = [node for node in nodes if node.op == "Mean"]
        mean.op = "OurMean"
        [concat, *_] = [node for node in nodes if node.op == "ConcatV2"]
        concat.attr["sharded"].b = True
        concat.attr["_hint"].b = True  # any version ignores these

    model = changed(brightness_model, tmp_path / "model", change)
    assert find_unknown_operations(model) == ("ConcatV2.sharded", "OurMean")


def test_such_a_model_is_refused_and_no_server_is_started(brightness_model, tmp_path):
    def change(nodes) -> None:
        next(node for node in nodes if node.op == "Mean").op = "OurMean"

    model = changed(brightness_model, tmp_path / "model", change)
    server = ("no_such_server", "{model_base_path}", "{rest_port}")
    found = check_server(model, [], "made", InfraSection(server=server), tmp_path)
    assert found.refusal == (
        "its SavedModel has operations that TensorFlow Serving 2.19 lacks: OurMean. Export it "
        "without them."
    )
    assert not found.blessed and found.load_seconds is None


@pytest.mark.parametrize(("count", "end"), [(5, "E. Export"), (7, "E and 2 more. Export")])
def test_long_lists_are_cut(count, end):
    assert end in why_not_servable(tuple("ABCDEFG"[:count]))
