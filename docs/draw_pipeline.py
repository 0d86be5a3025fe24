"""Draws the DAG of `create_pipeline` as Mermaid, from the inputs and outputs of its components.

Usage: ``python docs/draw_pipeline.py`` prints the diagram; with ``--write`` it also replaces the
one in docs/architecture.md. ``tests/pipeline/test_pipeline_diagram.py`` compares the two.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tfx.dsl.components.base.base_node import BaseNode
from tfx.types import Channel

from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.inputs import Inputs
from inception_finetune.pipeline.pipeline import create_pipeline

PAGE: Final = Path(__file__).with_name("architecture.md")
# All steps; those that the preset `digits` lacks are drawn as optional.
_EVERY_STEP: Final = (
    *("cifar10", "tuning.trials=1", "training.start_from=blessed"),
    "export.formats=[onnx]",
)
_BLOCK: Final = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)


def mermaid() -> str:
    """Returns the diagram: a node for each step, an edge for each pair of steps that share data.

    An edge is labelled with the output keys that travel along it. An edge without data is dotted:
    the second step only waits for the first.
    """
    steps = _steps(*_EVERY_STEP)
    optional = [name for name in steps if name not in _steps("digits")]
    lines = ["flowchart TB", *(f"  {name}" for name in steps)]
    for name, step in steps.items():
        received = _received(step)
        waits_for = {node.id for node in step.upstream_nodes}
        for sender in steps:
            if received.get(sender):
                lines.append(f"  {sender} -- {', '.join(received[sender])} --> {name}")
            elif sender in received:
                lines.append(f"  {sender} --> {name}")
            elif sender in waits_for:
                lines.append(f"  {sender} -.-> {name}")
    lines += ["  classDef optional stroke-dasharray: 5 5", f"  class {','.join(optional)} optional"]
    return "\n".join(lines) + "\n"


def embedded(page: str) -> str:
    """Returns the diagram that stands in a page."""
    [block] = _BLOCK.findall(page)
    return block.removeprefix("```mermaid\n").removesuffix("```\n")


def _steps(preset: str, *overrides: str) -> Mapping[str, BaseNode]:
    """The steps of a pipeline by id; nothing of what `Inputs` names has to exist."""
    inputs = Inputs(
        records="records",
        schema_file="schema.pbtxt",
        label_names=("cat", "dog"),
        network="inception_v3",
        backbone="backbone",
        backbone_fingerprint="",
        serving="serving",
        metadata=None,
    )
    pipeline = create_pipeline(load_config(preset, overrides), inputs)
    return {step.id: step for step in pipeline.components}


def _received(step: BaseNode) -> dict[str, list[str]]:
    """The output keys that a step reads, by the step that they come from.

    A resolver does not say which output it reads, so its senders have no keys.
    """
    received: dict[str, list[str]] = {}
    for channel in step.inputs.values():
        for sender in channel.get_data_dependent_node_ids():
            keys = received.setdefault(sender, [])
            if isinstance(channel, Channel) and channel.output_key not in keys:
                keys.append(channel.output_key)
    return received


def main() -> None:
    """Prints the diagram, and writes it into architecture.md if asked to."""
    diagram = mermaid()
    print(diagram, end="")
    if "--write" in sys.argv[1:]:
        page = PAGE.read_text("utf-8")
        PAGE.write_text(_BLOCK.sub(lambda _: f"```mermaid\n{diagram}```\n", page), "utf-8")


if __name__ == "__main__":
    main()
