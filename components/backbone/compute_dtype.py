"""The floating-point type of the convolutions."""

from pathlib import Path
from typing import Final, Literal

ComputeDtype = Literal["auto", "float32", "bfloat16"]

# Linux' names for instructions that multiply bfloat16 matrices; without them TensorFlow emulates
# the type, which is slower than float32.
_BFLOAT16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})
_CPU_INFO: Final = Path("/proc/cpuinfo")
# https://docs.nvidia.com/cuda/ampere-tuning-guide: the first tensor cores that multiply bfloat16.
_BFLOAT16_CAPABILITY: Final = (8, 0)


def resolve_compute_dtype(choice: ComputeDtype) -> Literal["float32", "bfloat16"]:
    """Returns the type that `choice` means on this machine.

    Args:
      choice: ``auto`` is bfloat16 where the device that computes multiplies it, the GPUs if there
        are any and else the processor.
    """
    if choice != "auto":
        return choice
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    can = all(map(_gpu_multiplies_bfloat16, gpus)) if gpus else _processor_multiplies_bfloat16()
    return "bfloat16" if can else "float32"


def _gpu_multiplies_bfloat16(gpu: object) -> bool:
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(gpu)
    # Missing for devices that are not NVIDIA's.
    return bool(details.get("compute_capability", (0, 0)) >= _BFLOAT16_CAPABILITY)


def _processor_multiplies_bfloat16() -> bool:
    try:
        lines = _CPU_INFO.read_text("utf-8").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _BFLOAT16_FLAGS.isdisjoint(flags.split())
