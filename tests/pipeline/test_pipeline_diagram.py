"""The diagram in docs/architecture.md is the pipeline that `create_pipeline` wires."""

import runpy

import pytest

from helpers.paths import REPOSITORY


@pytest.fixture(scope="module")
def drawing() -> dict:
    return runpy.run_path(str(REPOSITORY / "docs/draw_pipeline.py"))


@pytest.fixture(scope="module")
def diagram(drawing) -> list[str]:
    return [line.strip() for line in drawing["mermaid"]().splitlines()]


def test_the_page_has_the_diagram_of_the_code(drawing):
    page = (REPOSITORY / "docs/architecture.md").read_text("utf-8")
    assert drawing["embedded"](page) == drawing["mermaid"](), (
        "the pipeline has changed; run `python docs/draw_pipeline.py --write`"
    )


def test_edges_have_the_keys_of_outputs_and_waiting_is_dotted(diagram):
    assert "Evaluator -- blessing --> Pusher" in diagram
    assert "Export -- exports --> Pusher" in diagram
    assert "AnomalyGate -.-> Transform" in diagram
    assert "Trainer -- model, model_run --> ModelReport" in diagram


def test_what_digits_lacks_is_optional(diagram):
    assert diagram[-1] == "class TrunkFeatures,warm_start,Tuner,Export optional"
