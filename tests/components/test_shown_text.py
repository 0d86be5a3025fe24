"""Names from data cannot move the cursor, forge a line, or become markup, links and emoji."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from inception_finetune.components.shown_text import plain, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("owl", "owl"),
        ("Bär 猫 🦉", "Bär 猫 🦉"),
        ("of\u202fnarrow\u3000blanks", "of\u202fnarrow\u3000blanks"),
        ("\x1b[2Jevil\nerror: forged", r"\x1b[2Jevil\nerror: forged"),
        ("\x9b2J\r\x07\x7f", r"\x9b2J\r\x07\x7f"),
        ("gpj.\u202eexe\u2028", r"gpj.\u202eexe\u2028"),
        (b"caf\xe9".decode(errors="surrogateescape"), r"caf\udce9"),
    ],
)
def test_what_is_not_seen_is_escaped(text, shown):
    assert visible(text) == shown
    assert shown.encode() and shown.isprintable() or " " in shown or "\u3000" in shown


def test_no_part_is_taken_for_markup():
    name = "[red]x[/] :cat: [link=javascript:alert(1)]y[/link] [/] \\"
    console = Console(record=True, width=99, file=io.StringIO(), force_terminal=True)
    table = Table()
    table.add_column("name")
    table.add_row(plain(name, style="red"))
    console.print(table)
    console.print(plain(name))
    assert "<a " not in console.export_html(clear=False)
    assert console.export_text().count(name) == 2
