"""The floating-point type of the convolutions."""

from pathlib import Path
from typing import Final, Literal

ComputeDtype = Literal["auto", "float32", "bfloat16"]

# Linux' names for instructions that multiply bfloat16 matrices; without them TensorFlow emulates
# the type, which is slower than float32.
_BFLOAT16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})
_CPU_INFO: Final = Path("/proc/cpuinfo")


def resolve_compute_dtype(choice: ComputeDtype) -> Literal["float32", "bfloat16"]:
    """Returns the type that `choice` means on this machine."""
    if choice != "auto":
        return choice
    return "bfloat16" if _multiplies_bfloat16() else "float32"


def _multiplies_bfloat16() -> bool:
    try:
        lines = _CPU_INFO.read_text("utf-8").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _BFLOAT16_FLAGS.isdisjoint(flags.split())
