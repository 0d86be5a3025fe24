"""Figures whose texts are shown as they are: names of classes and files are no formulas."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def plain_figure(**arguments: Any) -> Iterator["Figure"]:
    """Makes a figure in which nothing between dollars is taken for mathematics.

    Args:
      **arguments: of matplotlib's `Figure`.

    Yields:
      The figure, to be drawn and saved inside the context: some texts are made when it is saved.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False}):
        yield Figure(**arguments)
