"""The network in two: a frozen trunk and upper blocks that are trained."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from components.backbone.keras_network import scoped_layers
from components.backbone.load import Backbone
from components.backbone.network import (
    ALL,
    BLOCKS,
    HEAD,
    TRAINABLE_FROM,
    convolutions,
    keras_number,
    variables_of,
)
from components.errors import UserError

if TYPE_CHECKING:
    import tf_keras as keras

STEM_POOLINGS = 2  # max poolings in the stem; the second one ends it


def split(
    network: "keras.Model", trainable_from: str, *, cut_before: str | None = None
) -> tuple["keras.Model | None", "keras.Model | None"]:
    """Cuts the network before the first block to be trained; both parts share its weights.

    The trunk maps `[B, S, S, 3] float32 in [-1, 1]` to the cut's output `[B, h, w, channels]` and
    is frozen: its batch normalisation stays in inference mode even when called with
    `training=True`. The upper part maps that to `[B, 2048]` and is trainable. Splitting again
    elsewhere freezes and thaws anew.

    Args:
        network: as `load_backbone` gives it.
        trainable_from: a block; `head` freezes the whole network; `all` freezes nothing.
        cut_before: a block below it to cut at instead; what lies between is frozen as well.

    Returns:
        Trunk and upper part; `(network, None)` for `head`, `(None, network)` for `all`.

    Raises:
        UserError: no such block.
    """
    import tf_keras as keras

    if trainable_from not in TRAINABLE_FROM:
        raise UserError(
            f"trainable_from must be one of {', '.join(TRAINABLE_FROM)}: received {trainable_from}"
        )
    if cut_before not in (None, trainable_from):
        split(network, trainable_from)  # freezes
        entrance = _cut_output(network, cut_before)
        return (
            keras.Model(network.input, entrance, name="trunk"),
            keras.Model(entrance, network.output, name="upper"),
        )
    network.trainable = trainable_from != HEAD
    if trainable_from == HEAD:
        return network, None
    if trainable_from == ALL:
        return None, network
    cut = _cut_output(network, trainable_from)
    trunk = keras.Model(network.input, cut, name="trunk")
    upper = keras.Model(cut, network.output, name="upper")
    trunk.trainable = False
    return trunk, upper


def _cut_output(network: "keras.Model", block: str) -> "keras.KerasTensor":
    """The tensor that enters a block."""
    import tf_keras as keras

    index = BLOCKS.index(block)
    if index:
        return network.get_layer(f"mixed{index - 1}").output  # Keras counts the blocks from 0
    poolings = [layer for layer in network.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    poolings.sort(key=lambda layer: keras_number(layer.name))
    return poolings[STEM_POOLINGS - 1].output


def reinitialize(upper: "keras.Model", seed: int) -> None:
    """Forgets what the upper blocks have learned: He-normal kernels, fresh batch statistics.

    He's truncated normal is what TF-Slim's `inception_arg_scope` starts from. The same seed gives
    the same kernels, wherever the network is cut.
    """
    import tf_keras as keras

    scopes = list(convolutions())
    trained = [layer for layer in upper.layers if layer.trainable]
    kernels = [layer for layer in trained if isinstance(layer, keras.layers.Conv2D)]
    kernels.sort(key=lambda layer: keras_number(layer.name))
    # The trained blocks always end where the network ends.
    for index, layer in enumerate(kernels, start=len(scopes) - len(kernels)):
        kernel_seed = int(np.random.SeedSequence([seed, index]).generate_state(1)[0]) >> 1
        initializer = keras.initializers.HeNormal(seed=kernel_seed)
        layer.kernel.assign(initializer(layer.kernel.shape))
    for layer in trained:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(np.zeros(layer.beta.shape))
            layer.moving_mean.assign(np.zeros(layer.moving_mean.shape))
            layer.moving_variance.assign(np.ones(layer.moving_variance.shape))


class VariableRow(NamedTuple):
    """A line of the variable report; `name` is TF-Slim's, or starts with `head/`."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    state: Literal["frozen", "trained"]


def variable_report(
    trunk: "keras.Model | None",
    upper: "keras.Model | None",
    head: "keras.Model | keras.layers.Layer | None" = None,
) -> list[VariableRow]:
    """Every variable in creation order: frozen, or changed by training.

    Moving statistics of a trained block count as trained: they get no gradient, but training
    updates them.
    """
    kernels = convolutions()
    rows = []
    for scope, convolution, batch_normalization in scoped_layers([trunk, upper]):
        kernel, *statistics = variables_of(scope, kernels[scope])
        rows.append(_row(kernel.name, kernel.shape, convolution.trainable))
        rows += [_row(name, shape, batch_normalization.trainable) for name, shape in statistics]
    if head is not None:
        for variable in head.weights:
            name = f"{HEAD}/{variable.name.removesuffix(':0').removeprefix(f'{HEAD}/')}"
            rows.append(_row(name, tuple(variable.shape), head.trainable))
    return rows


def plain_report(network: "keras.Model") -> list[VariableRow]:
    """The same of a network that TF-Slim has no names for."""
    trained = {variable.name for variable in network.trainable_variables}
    return [
        _row(variable.name.removesuffix(":0"), tuple(variable.shape), variable.name in trained)
        for variable in network.weights
    ]


def _row(name: str, shape: tuple[int, ...], trained: bool) -> VariableRow:
    return VariableRow(name, shape, int(np.prod(shape)), "trained" if trained else "frozen")


def render_report(rows: Iterable[VariableRow]) -> str:
    """The report as text, a variable a line: name, shape, state; the sums come last."""
    rows = list(rows)
    lines = [f"{row.name} {', '.join(map(str, row.shape))} {row.state}" for row in rows]
    for state in ("frozen", "trained"):
        chosen = [row.parameters for row in rows if row.state == state]
        lines.append(f"# {state}: {len(chosen)} variables, {sum(chosen):,} parameters")
    return "\n".join(lines) + "\n"


def describe(backbone: Backbone, trainable_from: str) -> list[tuple[str, str]]:
    """What `backbone check` prints: a name and a value a row."""
    trunk, upper = split(backbone.network, trainable_from)
    rows = variable_report(trunk, upper)
    sums = {
        state: f"{sum(row.state == state for row in rows)} variables, "
        f"{sum(row.parameters for row in rows if row.state == state):,} parameters"
        for state in ("frozen", "trained")
    }
    entering = (trunk.output_shape if trunk else backbone.network.input_shape)[1:]
    return [
        ("fingerprint", backbone.fingerprint),
        ("variables", f"{len(backbone.variables)}, all matched by name and shape"),
        ("image size", f"{backbone.image_size} (checked at {backbone.probe_size})"),
        ("trainable from", trainable_from),
        ("frozen", sums["frozen"]),
        ("trained", f"{sums['trained']}, and the head"),
        ("features at the cut", " x ".join(map(str, entering))),
        (
            "difference to the module",
            f"{backbone.relative_difference:.2g} relative, "
            f"{backbone.absolute_difference:.2g} absolute",
        ),
        ("seconds", f"{backbone.seconds:.1f}"),
    ]
