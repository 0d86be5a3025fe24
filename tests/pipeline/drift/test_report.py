"""The tables of `check-data` show names as they are, on the terminal and in the saved page."""

import io

import numpy as np
from rich.console import Console

from inception_finetune.components.drift.schema_check import Labels, SchemaCheck
from inception_finetune.components.drift.two_sample import Distance
from inception_finetune.pipeline.drift import report
from inception_finetune.pipeline.drift.check_data import DataCheck, Statistic

FEATURE = "[link=javascript:alert(1)]click[/link] [/] :cat:"
LABEL = "[red]cat\x1b[2J"


def made_check() -> DataCheck:
    counts = np.array([5, 5])
    return DataCheck(
        label_names=(LABEL, "dog"),
        count=9,
        sampled=9,
        unreadable=0,
        schema=SchemaCheck(((FEATURE, "[/] forged\nunchanged"),), Labels(counts, counts, 0, 0.1)),
        statistics=(Statistic("width", (1.0, 1.0), (2.0, 1.0), Distance(0.1, 0.9)),),
        features=None,
        not_compared="[/] no network",
        reference=(9, 9),
        level=0.01,
    )


def test_names_become_neither_links_nor_escapes_nor_lines(tmp_path):
    console = Console(record=True, width=150, file=io.StringIO())
    report.print_check(made_check(), console)
    text = console.export_text(clear=False)
    assert text.count(FEATURE) == 2 and r"0 [red]cat\x1b[2J" in text and "\x1b" not in text
    assert r"[/] forged\nunchanged" in text and "not compared: [/] no network" in text
    report.save(console, tmp_path / "page [x].html")
    page = (tmp_path / "page [x].html").read_text()
    assert "<a " not in page and "[link=javascript:alert(1)]click" in page
    assert "page [x].html" in console.export_text()
