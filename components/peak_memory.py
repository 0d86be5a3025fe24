"""Peak resident memory of this process over a period, as Linux counts it."""

import contextlib
from pathlib import Path
from typing import Final

# https://docs.kernel.org/filesystems/proc.html: writing "5" begins the high-water mark anew.
_CLEAR: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")


def begin_peak() -> None:
    """Resets the peak to the memory in use now.

    Where a container forbids the reset, the peak since the start of the process remains.
    """
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def peak_bytes() -> int:
    """Returns the peak of resident memory since `begin_peak`, in bytes."""
    lines = _STATUS.read_text("utf-8").splitlines()
    [mark] = [line for line in lines if line.startswith("VmHWM:")]
    return int(mark.split()[1]) * 1024
