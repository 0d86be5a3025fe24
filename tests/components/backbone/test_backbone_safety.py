"""Modules that could touch files are refused before anything of them runs."""

import pytest
import tensorflow as tf

from inception_finetune.components.backbone.load import load_backbone
from inception_finetune.components.backbone.safety import read_saved_model, refuse_unsafe
from inception_finetune.components.errors import UserError


def save_module(directory, function):
    """A module whose call also runs `function`."""
    module = tf.train.Checkpoint()
    module.variable = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 75, 75, 3])])
    def call(images):
        with tf.control_dependencies([function(images)]):
            return tf.reduce_mean(images) * module.variable

    module.__call__ = call
    tf.saved_model.save(module, str(directory))
    return directory


def refuse(directory):
    refuse_unsafe(read_saved_model(directory), directory)


def test_read_file_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    module = save_module(tmp_path / "m", lambda _: tf.strings.length(tf.io.read_file(str(secret))))
    with pytest.raises(UserError, match=r"not loaded: .* Python, or .*: ReadFile"):
        load_backbone(module, image_size=75)


def test_write_file_is_refused_without_running(tmp_path):
    victim = tmp_path / "victim"

    def write(images):
        return tf.io.write_file(str(victim), tf.io.serialize_tensor(images))

    with pytest.raises(UserError, match="WriteFile"):
        load_backbone(save_module(tmp_path / "m", write), image_size=75)
    assert not victim.exists()


def test_file_operation_in_a_called_function_is_refused(tmp_path):
    @tf.function
    def inner(images):
        return tf.size(tf.io.matching_files("/*")) + tf.shape(images)[0]

    with pytest.raises(UserError, match="MatchingFiles"):
        refuse(save_module(tmp_path / "m", inner))


def test_python_callback_is_refused(tmp_path):
    def callback(images):
        return tf.py_function(lambda value: value, [images], tf.float32)

    with pytest.raises(UserError, match="EagerPyFunc"):
        refuse(save_module(tmp_path / "m", callback))


def test_saving_a_checkpoint_is_refused_where_it_would_run(tmp_path):
    def save(images):
        return tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "x"), tensor_names=["x"], shape_and_slices=[""], tensors=[images]
        )

    with pytest.raises(UserError, match="SaveV2 outside of saving"):
        refuse(save_module(tmp_path / "m", save))


def test_ordinary_module_passes(tmp_path):
    refuse(save_module(tmp_path / "m", tf.identity))


def test_unknown_operation_is_refused(tmp_path):
    saved_model = read_saved_model(save_module(tmp_path / "m", tf.identity))
    saved_model.meta_graphs[0].graph_def.node.add(name="x", op="SomebodysOwnOp")
    with pytest.raises(UserError, match="SomebodysOwnOp"):
        refuse_unsafe(saved_model, tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xff not a protobuf", b""])
def test_damaged_graph_is_refused(tmp_path, content):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(UserError, match="is not a SavedModel"):
        load_backbone(tmp_path, image_size=75)
