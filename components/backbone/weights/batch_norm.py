"""Converts batch normalisation of other libraries to TF-Slim's: no scale, a fixed epsilon."""

import numpy as np

from inception_finetune.components.backbone.network import BATCH_NORM_EPSILON


def fold_scale(
    kernel: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Moves scale and epsilon into the kernel and the statistics; the layer's output stays.

    ``gamma * (x - mean) / sqrt(variance + epsilon) + beta`` becomes
    ``(x' - mean') / sqrt(variance' + BATCH_NORM_EPSILON) + beta``, where x' is the convolution's
    output under the new kernel. The kernel takes gamma, and whatever of epsilon would make the
    new variance negative.

    Args:
        kernel: ``[h, w, in, filters]`` float32.
        gamma: ``[filters]`` float32, of any sign, as are the next three.
        beta: returned as it is.
        mean: moving mean of the convolution's output.
        variance: its moving variance; not above ``-epsilon``, the result is not finite.
        epsilon: of the other library's layer.

    Returns:
        Kernel, beta, mean and variance of the layer without scale, float32.
    """
    exact = variance.astype(np.float64)
    new_variance = np.maximum(exact + (epsilon - BATCH_NORM_EPSILON), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = gamma * np.sqrt((new_variance + BATCH_NORM_EPSILON) / (exact + epsilon))
    return (
        (kernel * factor).astype(np.float32),
        beta,
        (mean * factor).astype(np.float32),
        new_variance.astype(np.float32),
    )
