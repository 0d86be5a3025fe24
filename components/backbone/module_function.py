"""The function of a loaded module of any age: images to features."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from inception_finetune.components.backbone.foreign import in_one_line
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

SIGNATURES: Final = ("default", "image_feature_vector", "serving_default")  # in order of choice
DEFAULT_OUTPUT: Final = "default"


@dataclass(frozen=True)
class ModuleFunction:
    """Maps ``[B, H, W, 3]`` float32 in [0, 1] to ``[B, features]`` float32.

    `image_size` (side in pixels) and `batch_size` are None where the module takes any.
    """

    call: Callable[[np.ndarray], Any]
    image_size: int | None
    batch_size: int | None
    directory: Path
    features: int

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Computes the features of images.

        Raises:
            UserError: the call fails, or the answer is not a feature vector.
        """
        fact = f"Module in {self.directory} fails where it is called with images"
        with in_one_line(fact, "Take another module"):
            answer = self.call(images)
            if isinstance(answer, dict):
                answer = answer.get(DEFAULT_OUTPUT, next(iter(answer.values())))
            features = np.asarray(answer)
        if features.shape[:1] != (len(images),) or features.size != len(images) * self.features:
            raise UserError(
                f"Module in {self.directory} gives {list(features.shape[1:])} numbers an image, "
                f"not {self.features}. Take its feature_vector variant."
            )
        return features.reshape(len(images), self.features)


def find_function(backbone: Backbone, module: Any, directory: Path) -> ModuleFunction:
    """Returns the module's `__call__`, or the signature that modules of its age have.

    Args:
        backbone: the network's table.
        module: as TensorFlow loads it.
        directory: of the module, for messages.

    Raises:
        UserError: nothing takes one batch of images, or only of a size that is too small.
    """
    signatures = getattr(module, "signatures", {})
    call, specs = _from_callable(module) if callable(module) else _from_signatures(signatures)
    if call is None or not specs:
        raise UserError(
            f"Module in {directory} cannot be called with images: it has the signatures "
            f"{', '.join(signatures) or 'none'}, and none of {', '.join(SIGNATURES)} with one "
            "image input [B, H, W, 3]. Take an image feature-vector module."
        )
    sizes = {tuple(spec.shape[1:3]) for spec in specs}
    batches = {spec.shape[0] for spec in specs}
    height, width = (None, None) if (None, None) in sizes else min(sizes)
    if height != width or (height is not None and height < backbone.smallest_size):
        raise UserError(
            f"Module in {directory} takes images of {height}x{width} pixels, not square ones "
            f"of at least {backbone.smallest_size}. Take another module."
        )
    batch_size = None if None in batches else min(batches)
    return ModuleFunction(call, height, batch_size, directory, backbone.features)


def _from_callable(
    module: Any,
) -> tuple[Callable[[np.ndarray], Any] | None, list["tf.TensorSpec"]]:
    import tensorflow as tf

    signatures = [
        function.structured_input_signature for function in module.__call__.concrete_functions
    ]
    takes_training = "training" in module.__call__.function_spec.arg_names

    def call(images: np.ndarray) -> Any:
        if takes_training:
            return module(tf.constant(images), training=False)
        return module(tf.constant(images))

    return call, _image_specs(signatures)


def _from_signatures(
    signatures: Any,
) -> tuple[Callable[[np.ndarray], Any] | None, list["tf.TensorSpec"]]:
    for name in SIGNATURES:
        if name not in signatures:
            continue
        function = signatures[name]
        _, inputs = function.structured_input_signature
        specs = _image_specs(inputs)
        if len(inputs) == len(specs) == 1:
            return _with_argument(function, next(iter(inputs))), specs
    return None, []


def _with_argument(function: Any, argument: str) -> Callable[[np.ndarray], Any]:
    import tensorflow as tf

    return lambda images: function(**{argument: tf.constant(images)})


def _image_specs(structure: Iterable[Any]) -> list["tf.TensorSpec"]:
    """Returns the specs of image batches in one or several signatures."""
    import tensorflow as tf

    return [
        spec
        for spec in tf.nest.flatten(structure)
        if isinstance(spec, tf.TensorSpec)
        and spec.dtype == tf.float32
        and spec.shape.rank == 4
        and spec.shape[-1] == 3
    ]
