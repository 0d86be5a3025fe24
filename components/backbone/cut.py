"""Splits the network into a frozen trunk and upper blocks that are trained."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from inception_finetune.components.backbone.keras_network import block_output, scoped_layers
from inception_finetune.components.backbone.load import LoadedBackbone
from inception_finetune.components.backbone.network import ALL, HEAD, Backbone
from inception_finetune.components.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras as keras


def split(
    backbone: Backbone,
    network: "keras.Model",
    trainable_from: str,
    *,
    cut_before: str | None = None,
) -> tuple["keras.Model | None", "keras.Model | None"]:
    """Cuts the network before the first block to be trained; both parts share its weights.

    The trunk maps ``[B, S, S, 3]`` float32 in [-1, 1] to the cut's output ``[B, h, w, channels]``
    and is frozen: its batch normalisation stays in inference mode even when called with
    `training=True`. The upper part maps that to ``[B, features]`` and is trainable. Splitting
    again elsewhere freezes and thaws anew.

    Args:
        backbone: what the network is.
        network: as `load_backbone` gives it.
        trainable_from: a block; `head` freezes the whole network; `all` freezes nothing.
        cut_before: a block below it to cut at instead; what lies between is frozen as well.

    Returns:
        Trunk and upper part; `(network, None)` for `head`, `(None, network)` for `all`.

    Raises:
        UserError: no such block.
    """
    import tf_keras as keras

    if trainable_from not in backbone.trainable_from:
        raise UserError(
            f"trainable_from is {trainable_from}, which {backbone.title} does not have: it "
            f"must be one of {', '.join(backbone.trainable_from)}. Choose one of these."
        )
    if cut_before not in (None, trainable_from):
        split(backbone, network, trainable_from)  # freezes
        entrance = _entrance(backbone, network, cut_before)
        return (
            keras.Model(network.input, entrance, name="trunk"),
            keras.Model(entrance, network.output, name="upper"),
        )
    network.trainable = trainable_from != HEAD
    if trainable_from == HEAD:
        return network, None
    if trainable_from == ALL:
        return None, network
    entrance = _entrance(backbone, network, trainable_from)
    trunk = keras.Model(network.input, entrance, name="trunk")
    upper = keras.Model(entrance, network.output, name="upper")
    trunk.trainable = False
    return trunk, upper


def _entrance(backbone: Backbone, network: "keras.Model", block: str) -> "keras.KerasTensor":
    """Returns the tensor that enters a block."""
    return block_output(network, backbone.blocks_before(block)[-1])


def reinitialize(backbone: Backbone, upper: "keras.Model", seed: int) -> None:
    """Initialises the trained blocks anew: He-normal kernels, fresh batch statistics.

    He's truncated normal is what TF-Slim's `inception_arg_scope` starts from. The same seed gives
    the same kernels, wherever the network is cut.

    Args:
        backbone: the network's table.
        upper: the upper part; its frozen layers keep their weights.
        seed: of the kernels.
    """
    import tf_keras as keras

    numbers = {scope: number for number, scope in enumerate(backbone.convolutions)}
    for row in scoped_layers(backbone, [upper]):
        if not row.layers[0].trainable:
            continue
        kernel_seed = int(np.random.SeedSequence([seed, numbers[row.scope]]).generate_state(1)[0])
        initializer = keras.initializers.HeNormal(seed=kernel_seed >> 1)
        for name, variable in row.variables.items():
            if name.endswith("/depthwise_weights"):  # each filter sees one channel
                height, width, channels, multiplier = variable.shape
                value = initializer((height, width, 1, channels * multiplier))
                variable.assign(np.reshape(value, variable.shape))
            elif name.endswith("weights"):
                variable.assign(initializer(variable.shape))
            else:
                fresh = np.ones if name.endswith("/moving_variance") else np.zeros
                variable.assign(fresh(variable.shape))


def trained_by_block(backbone: Backbone, upper: "keras.Model | None") -> "list[list[tf.Variable]]":
    """Groups the trainable variables of the upper part by their blocks.

    Args:
        backbone: the network's table.
        upper: as `split` returns it.

    Returns:
        The variables of each trained block, from the last block to the first.
    """
    ends = {block.name for block in backbone.blocks}
    groups: list[list[tf.Variable]] = [[]]
    # Keras sorts layers by depth, so that all layers of a block come before the one that ends it.
    for layer in upper.layers if upper is not None else []:
        groups[-1] += layer.trainable_variables
        if layer.name in ends:
            groups.append([])
    return [group for group in reversed(groups) if group]


class VariableRow(NamedTuple):
    """A line of the variable report; `name` is TF-Slim's, or starts with `head/`."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    state: Literal["frozen", "trained"]


def variable_report(
    backbone: Backbone,
    trunk: "keras.Model | None",
    upper: "keras.Model | None",
    head: "keras.Model | keras.layers.Layer | None" = None,
) -> list[VariableRow]:
    """Lists every variable in creation order as frozen or trained.

    Moving statistics of a trained block count as trained: they get no gradient, but training
    updates them.

    Args:
        backbone: the network's table.
        trunk: as `split` returns it.
        upper: as `split` returns it.
        head: the classifier on top, if there is one.
    """
    rows = [
        _row(name, tuple(variable.shape), row.layers[0].trainable)
        for row in scoped_layers(backbone, [trunk, upper])
        for name, variable in row.variables.items()
    ]
    if head is not None:
        for variable in head.weights:
            name = f"{HEAD}/{variable.name.removesuffix(':0').removeprefix(f'{HEAD}/')}"
            rows.append(_row(name, tuple(variable.shape), head.trainable))
    return rows


def _row(name: str, shape: tuple[int, ...], trained: bool) -> VariableRow:
    return VariableRow(name, shape, int(np.prod(shape)), "trained" if trained else "frozen")


def render_report(rows: Iterable[VariableRow]) -> str:
    """Formats the report, a variable a line: name, shape, state; the sums come last."""
    rows = list(rows)
    lines = [f"{row.name} {', '.join(map(str, row.shape))} {row.state}" for row in rows]
    for state in ("frozen", "trained"):
        sizes = [row.parameters for row in rows if row.state == state]
        lines.append(f"# {state}: {len(sizes)} variables, {sum(sizes):,} parameters")
    return "\n".join(lines) + "\n"


def describe(loaded: LoadedBackbone, trainable_from: str) -> list[tuple[str, str]]:
    """Returns what `backbone check` prints: a name and a value a row.

    Args:
        loaded: the checked network.
        trainable_from: where it is to be cut.
    """
    backbone = loaded.backbone
    trunk, upper = split(backbone, loaded.network, trainable_from)
    rows = variable_report(backbone, trunk, upper)
    sums = {
        state: f"{sum(row.state == state for row in rows)} variables, "
        f"{sum(row.parameters for row in rows if row.state == state):,} parameters"
        for state in ("frozen", "trained")
    }
    entering = (trunk.output_shape if trunk else loaded.network.input_shape)[1:]
    return [
        ("network", f"{backbone.title} ({backbone.name})"),
        ("fingerprint", loaded.fingerprint),
        ("variables", f"{len(loaded.variables)}, all matched by name and shape"),
        ("image size", f"{loaded.image_size} (checked at {loaded.probe_size})"),
        ("trainable from", trainable_from),
        ("frozen", sums["frozen"]),
        ("trained", f"{sums['trained']}, and the head"),
        ("features at the cut", " x ".join(map(str, entering))),
        (
            "difference to the module",
            f"{loaded.relative_difference:.2g} relative, {loaded.absolute_difference:.2g} absolute",
        ),
        ("seconds", f"{loaded.seconds:.1f}"),
    ]
