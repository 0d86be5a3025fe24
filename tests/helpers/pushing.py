"""A small exported model, and Pusher's executor as TFX calls it."""

from pathlib import Path

from tfx.proto import pusher_pb2
from tfx.types.experimental.simple_artifacts import File
from tfx.types.standard_artifacts import Model, ModelBlessing, PushedModel
from tfx.utils import proto_utils

from inception_finetune.components.pusher.component import EXPORTS_KEY, Executor


def export_model(artifact: Path, answer: float) -> Path:
    """A Model artifact whose SavedModel answers with `answer`, and has several files."""
    import tensorflow as tf

    module = tf.Module()
    module.answer = tf.Variable(answer)
    module.weights = tf.Variable(tf.zeros([1000, 100]))  # 400 kB
    module.__call__ = tf.function(lambda: module.answer + module.weights[0, 0], input_signature=[])
    tf.saved_model.save(module, str(artifact / "Format-Serving"))
    return artifact


def push(
    model: Path,
    serving: Path,
    archive: Path,
    *,
    blessed: bool = True,
    exports: Path | None = None,
) -> PushedModel:
    """Runs the executor; `archive` is the folder of its output artifact."""
    source, blessing, pushed = Model(), ModelBlessing(), PushedModel()
    source.uri, pushed.uri = str(model), str(archive)
    blessing.set_int_custom_property("blessed", int(blessed))
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(serving))
    )
    inputs = {"model": [source], "model_blessing": [blessing]}
    if exports is not None:
        inputs[EXPORTS_KEY] = [File()]
        inputs[EXPORTS_KEY][0].uri = str(exports)
    Executor().Do(
        inputs,
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    return pushed


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files, by their path below `folder`."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def served(serving: Path) -> dict[str, dict[str, bytes]]:
    """What TensorFlow Serving takes for versions: all folders with a number as their name."""
    folders = serving.iterdir() if serving.exists() else ()
    return {folder.name: contents(folder) for folder in folders if folder.name.isdecimal()}
