"""The review notebook runs on a finished pipeline, and says what the gate has measured."""

import re

import pytest

from helpers.paths import REPOSITORY

pytestmark = [pytest.mark.e2e, pytest.mark.review]

NOTEBOOK = REPOSITORY / "notebooks" / "review.ipynb"
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def executed(smallest_config, first_run):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    [parameters] = [
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())
    ]
    parameters.source = f'CONFIG = "digits"\nOVERRIDES = ["root={smallest_config.root}"]'
    client = NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    return client.execute()


def outputs(notebook, kind: str) -> list:
    return [
        output.data[kind]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if kind in output.get("data", {})
    ]


def rows(notebook, column: str) -> dict[str, dict[str, str]]:
    """The cells of the one table that has this column, by row and column."""
    [html] = [text for text in outputs(notebook, "text/html") if column in text]
    cells = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        for row in re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    ]
    header, *body = cells
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in body}


def test_it_is_committed_without_outputs_and_small():
    import nbformat

    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert NOTEBOOK.stat().st_size < 100_000


def test_tfmas_views_are_made(executed):
    assert len(outputs(executed, WIDGET)) == 3  # slicing metrics, plot, time series


def test_the_tables_say_what_the_gate_measured(executed, first_run):
    slices = rows(executed, "example_count")
    overall = slices.pop("overall")
    assert float(overall["accuracy"]) == pytest.approx(first_run.metrics["accuracy"], abs=1e-6)
    assert float(overall["example_count"]) == 360
    assert len(slices) == 10
    assert sum(float(row["example_count"]) for row in slices.values()) == 360


def test_plots_are_drawn_without_the_network(executed):
    assert len(outputs(executed, "image/png")) == 2  # confusion matrix, time series
    assert not re.search(r"https?://", NOTEBOOK.read_text())
