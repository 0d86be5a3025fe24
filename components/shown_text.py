"""Text that comes from data, such as names of classes and files, as it is shown to people."""

import unicodedata

from rich.text import Text


def visible(text: str) -> str:
    r"""Replaces each character that is not seen by its escape, such as ``\x1b``; blanks stay.

    Such characters move a terminal's cursor, turn the direction of writing, or begin a line that
    looks like the program's own. Bytes of a path that are not UTF-8 are replaced as well, which
    cannot be written anywhere.

    Args:
      text: of any origin.

    Returns:
      One line of printable characters.
    """
    return "".join(
        one
        if one.isprintable() or unicodedata.category(one) == "Zs"
        else one.encode("unicode_escape").decode()
        for one in text
    )


def plain(text: str, style: str = "") -> Text:
    """The same for rich, which takes no part of it for markup, a link or an emoji.

    Args:
      text: of any origin.
      style: of all of it, in rich's words.

    Returns:
      What a console or the cell of a table takes.
    """
    return Text(visible(text), style=style)
