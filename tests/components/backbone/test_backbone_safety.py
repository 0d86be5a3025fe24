"""Modules that could do more than compute are refused before anything of them runs."""

import pytest
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from inception_finetune.components.backbone.allowed_operations import ALLOWED
from inception_finetune.components.backbone.load import load_backbone
from inception_finetune.components.backbone.module_function import ModuleFunction
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


def test_tf1_module_with_branches_dropout_and_checks_passes(tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, 75, 75, 3])
        kernel = v1.get_variable("kernel", [3, 3, 3, 4], use_resource=False)
        features = tf.nn.relu(tf.nn.conv2d((images - 0.5) * 2, kernel, 2, "SAME"))
        is_training = v1.placeholder_with_default(False, [])
        features = v1.cond(is_training, lambda: tf.nn.dropout(features, 0.2), lambda: features)
        with v1.control_dependencies([v1.assert_none_equal(v1.shape(images)[0], 0)]):
            features = tf.reduce_mean(features, (1, 2))
        v1.summary.histogram("features", features)
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"images": images}, {"default": features})
        builder = v1.saved_model.Builder(str(tmp_path / "m"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"default": signature})
        builder.save()
    refuse(tmp_path / "m")


def test_the_list_names_operations_that_exist():
    assert [name for name in ALLOWED if op_def_registry.get(name) is None] == []


def test_unknown_operation_is_refused(tmp_path):
    saved_model = read_saved_model(save_module(tmp_path / "m", tf.identity))
    saved_model.meta_graphs[0].graph_def.node.add(name="x", op="SomebodysOwnOp")
    with pytest.raises(UserError, match="SomebodysOwnOp"):
        refuse_unsafe(saved_model, tmp_path)


def test_reading_a_file_as_a_constant_is_refused(tmp_path):
    def read(_):
        return tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[1], memory_region_name="/secret")

    with pytest.raises(UserError, match=r"or never end: ImmutableConst\. Take"):
        refuse(save_module(tmp_path / "m", read))


def test_a_loop_is_refused(tmp_path):
    def wait(images):
        return tf.while_loop(
            lambda value: value < 1, lambda value: [value * 0], [images[0, 0, 0, 0]]
        )[0]

    with pytest.raises(UserError, match="StatelessWhile"):
        refuse(save_module(tmp_path / "m", wait))


@pytest.mark.parametrize("place", ["graph", "function"])
def test_an_end_of_the_process_is_refused_wherever_it_stands(tmp_path, place):
    saved_model = read_saved_model(save_module(tmp_path / "m", tf.identity))
    graph = saved_model.meta_graphs[0].graph_def
    nodes = graph.node if place == "graph" else graph.library.function[0].node_def
    nodes.add(name=nodes[-1].name, op="Abort")
    nodes.add(name=nodes[-1].name, op="Const")  # of the same name
    with pytest.raises(UserError, match=r"or never end: Abort\. Take"):
        refuse_unsafe(saved_model, tmp_path)


def test_a_function_cannot_hide_an_operation_of_its_name(tmp_path):
    saved_model = read_saved_model(save_module(tmp_path / "m", tf.identity))
    graph = saved_model.meta_graphs[0].graph_def
    graph.library.function.add().signature.name = "Abort"
    graph.node.add(name="x", op="Abort")
    with pytest.raises(UserError, match="a function named Abort"):
        refuse_unsafe(saved_model, tmp_path)


def test_a_name_that_is_no_text_stays_in_one_line(tmp_path):
    saved_model = read_saved_model(save_module(tmp_path / "m", tf.identity))
    saved_model.meta_graphs[0].graph_def.node.add(name="x", op="A\x1b[2J\nerror: forged")
    with pytest.raises(UserError, match=r"'A\\x1b\[2J\\nerror: forged'"):
        refuse_unsafe(saved_model, tmp_path)


def calling(saved_model, names, times=1):
    """Adds functions, each of which calls the next one so many times."""
    library = saved_model.meta_graphs[0].graph_def.library
    for name, called in zip(names, [*names[1:], None], strict=True):
        function = library.function.add()
        function.signature.name = name
        for number in range(times if called else 0):
            node = function.node_def.add(name=f"call{number}", op="PartitionedCall")
            node.attr["f"].func.name = called


@pytest.mark.parametrize(
    ("names", "times", "told"),
    [
        ([f"f{number}" for number in range(3000)], 1, "more than 50 of its functions call each"),
        (["f", "g", "f"], 1, "its function [fg] calls itself"),
        ([f"f{number}" for number in range(40)], 2, "runs more than 1,000,000 operations"),
    ],
    ids=["nested", "in a circle", "doubled 40 times"],
)
def test_functions_that_call_each_other_without_end_are_refused(tmp_path, names, times, told):
    saved_model = read_saved_model(save_module(tmp_path / "m", tf.identity))
    calling(saved_model, names, times)
    with pytest.raises(UserError, match=f"not loaded: .*{told}"):
        refuse_unsafe(saved_model, tmp_path)


def test_a_call_that_fails_is_one_line(tmp_path):
    module = tf.saved_model.load(
        save_module(tmp_path / "m", lambda images: tf.debugging.Assert(images[0, 0, 0, 0] > 1, [1]))
    )
    function = ModuleFunction(module, 75, 1, tmp_path / "m", 1)
    with pytest.raises(
        UserError, match=r"m fails where it is called with images: .*assert"
    ) as held:
        function(tf.zeros([1, 75, 75, 3]).numpy())
    assert "\n" not in str(held.value)


def test_files_too_large_for_a_module_are_not_hashed(tmp_path):
    directory = save_module(tmp_path / "m", tf.identity)
    with (directory / "variables/variables.data-00000-of-00001").open("r+b") as file:
        file.truncate(300_000_000_000)  # sparse: it takes no space
    with pytest.raises(UserError, match=r"have 300,000,.* bytes, and at most 4,294,967,296"):
        load_backbone(directory, image_size=75)


@pytest.mark.parametrize("content", [b"\xff\xff not a protobuf", b""])
def test_damaged_graph_is_refused(tmp_path, content):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(UserError, match="is not a SavedModel"):
        load_backbone(tmp_path, image_size=75)
