"""The task `window` of a package of spans: which upload all tasks of a run read.

Runs ``python -m inception_finetune.kubeflow.window``. A recurring run has the same parameters each
night, as KFP's backend puts no date into them. So one task looks which uploads there are and gives
the others its answer as parameters, by which they are cached: a run of the same window finds their
results, whenever the task has looked.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from inception_finetune.components import features
from inception_finetune.components.dataset.manifest import MANIFEST_FILE, Manifest, load_manifest
from inception_finetune.components.errors import ExitStatus, UserError
from inception_finetune.components.evaluation.label_names import differing
from inception_finetune.components.settings import Section
from inception_finetune.components.shown_text import visible
from inception_finetune.kubeflow import storage
from inception_finetune.kubeflow.parameters import DATA, NEWEST, SPAN, TRAINING_STEPS
from inception_finetune.kubeflow.upload import (
    COMPLETE,
    RECORDS,
    Marker,
    find_markers,
    parse_marker,
)
from inception_finetune.pipeline.spans import span_number
from inception_finetune.trainer.order import TrainingOrder

TASK: Final = "window"
COMMAND: Final = ("python", "-m", "inception_finetune.kubeflow.window")
PACKAGE: Final = "package"  # parameter of the task: a `CompiledFor` as JSON
# What the task is given of the pipeline's parameters, and what it gives to the other tasks.
_TAKEN: Final = {DATA: "STRING", SPAN: "STRING", TRAINING_STEPS: "NUMBER_INTEGER"}
_GIVEN: Final = {DATA: "STRING", TRAINING_STEPS: "NUMBER_INTEGER"}
_NAMED: Final = 10  # spans in a message
_SHORT: Final = 12  # digits of a fingerprint in a message


class CompiledFor(Section):
    """What a package was compiled for, which an upload must fit."""

    uploads: str  # folder of all uploads
    name: str  # of the pipeline
    label_names: tuple[str, ...]
    backbone_fingerprint: str
    epochs: int
    batch_size: int


def insert(package: dict[str, Any], image: str, compiled_for: CompiledFor) -> None:
    """Adds the task, and lets those that read the data wait for what it gives.

    Args:
      package: the PipelineSpec as a dictionary, with the pipeline's parameters; changed in place.
      image: of the task's container.
      compiled_for: what an upload must fit.
    """
    tasks = package["root"]["dag"]["tasks"]
    for task in tasks.values():
        given = task.get("inputs", {}).get("parameters", {})
        for name in _GIVEN.keys() & given.keys():
            given[name] = {
                "taskOutputParameter": {"producerTask": TASK, "outputParameterKey": name}
            }
            task["dependentTasks"] = sorted({*task.get("dependentTasks", ()), TASK})
    tasks[TASK] = {
        "taskInfo": {"name": TASK},
        "componentRef": {"name": TASK},
        "inputs": {
            "parameters": {
                PACKAGE: {"runtimeValue": {"constant": compiled_for.model_dump_json()}},
                **{name: {"componentInputParameter": name} for name in _TAKEN},
            }
        },
    }
    package["components"][TASK] = {
        "executorLabel": f"{TASK}_executor",
        "inputDefinitions": {"parameters": _typed({PACKAGE: "STRING", **_TAKEN})},
        "outputDefinitions": {"parameters": _typed(_GIVEN)},
    }
    package["deploymentSpec"]["executors"][f"{TASK}_executor"] = {
        "container": {
            "image": image,
            "command": list(COMMAND),
            "args": ["--executor_input", "{{$}}"],
        }
    }


def _typed(kinds: dict[str, str]) -> dict[str, dict[str, str]]:
    return {name: {"parameterType": kind} for name, kind in kinds.items()}


def steps_of(epochs: int, examples: int, batch_size: int) -> int:
    """Returns how many optimizer steps epochs are.

    Args:
      epochs: passes over the train split.
      examples: in that split.
      batch_size: of a step.

    Raises:
      UserError: there are fewer examples than a batch takes.
    """
    return epochs * TrainingOrder(examples, 1, batch_size, seed=0).steps_per_epoch


def main() -> None:
    """Runs the task; a foreseeable failure is one line and status 1."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--executor_input", required=True)
    given = json.loads(parser.parse_args().executor_input)
    try:
        values = choose_window(given["inputs"]["parameterValues"])
        output = json.dumps({"parameterValues": values}).encode()
        storage.write(output, given["outputs"]["outputFile"])
    except UserError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        sys.exit(ExitStatus.FAILED)


def choose_window(values: dict[str, Any]) -> dict[str, Any]:
    """Finds the upload that a run reads, says which, and how long to train on it.

    Args:
      values: the task's parameters.

    Returns:
      Values of the parameters that the other tasks are given.

    Raises:
      UserError: there is no such upload, it does not fit the package, or the store refuses.
    """
    compiled_for = CompiledFor.model_validate_json(values[PACKAGE])
    place = values[DATA].rstrip("/") or find_upload(compiled_for, values[SPAN])
    records = storage.fetch(f"{place}/{RECORDS}/{MANIFEST_FILE}")
    manifest = load_manifest(Path(records).parent)
    _require_fit(compiled_for, place, manifest)
    spans = list(manifest.spans) or ["no spans"]
    print(f"{place}: {len(manifest.spans):,} spans, {spans[0]} to {spans[-1]}", flush=True)
    steps = int(values[TRAINING_STEPS]) or steps_of(
        compiled_for.epochs, manifest.counts[features.TRAIN], compiled_for.batch_size
    )
    return {DATA: place, TRAINING_STEPS: steps}


def find_upload(compiled_for: CompiledFor, span: str) -> str:
    """Finds the last upload of a span; uploads that do not say their span are counted and said.

    Args:
      compiled_for: names the pipeline and the folder of its uploads.
      span: name of the upload's newest span, or `NEWEST` for the newest one of all.

    Returns:
      The upload's address.

    Raises:
      UserError: there is no such upload, `span` is no name of one, or the store refuses.
    """
    wanted = None if span == NEWEST else _number(span)
    markers = find_markers(compiled_for.uploads, compiled_for.name)
    found = {place: marker for place, marker in markers.items() if marker and marker.uploaded}
    if others := len(markers) - len(found):
        print(
            f"passed over, as they do not say their newest span: {others:,} uploads of "
            f"{compiled_for.name}. `kubeflow upload` of the same data lets one say it",
            flush=True,
        )
    chosen = [place for place in found if wanted in (None, _order(found[place])[0])]
    if not chosen:
        there = sorted({_order(marker)[0]: marker.span for marker in found.values()}.items())
        names = [str(name) for _, name in there[: -_NAMED - 1 : -1]]
        more = f" and {len(there) - _NAMED:,} older ones" if len(there) > _NAMED else ""
        raise UserError(
            f"No upload of {compiled_for.name} with span={span} in {compiled_for.uploads}: those "
            f"that are whole and say their newest span have {', '.join(names) or 'none'}{more}. "
            "Run `kubeflow upload`, or give another span."
        )
    return max(chosen, key=lambda place: _order(found[place]))


def _order(marker: Marker) -> tuple[int, float]:
    """Of two uploads of a span, the later one has what came late."""
    assert marker.span is not None and marker.uploaded is not None
    return span_number(marker.span), marker.uploaded.timestamp()


def _number(span: str) -> int:
    try:
        return span_number(span)
    except ValueError:
        raise UserError(
            f"span={span} is no name of a span. Give {NEWEST}, a date such as 2026-11-27, or a "
            "number."
        ) from None


def _require_fit(compiled_for: CompiledFor, place: str, manifest: Manifest) -> None:
    """Refuses an upload that the package was not compiled for."""
    again = "Compile the package again and submit it"
    names = manifest.label_names
    if names != compiled_for.label_names:
        how = differing(names, compiled_for.label_names) or "the same in another order"
        raise UserError(
            f"{place} has other classes than the package: {how}. {again}: a network has an output "
            "for each class."
        )
    marker = parse_marker(storage.read(f"{place}/{COMPLETE}") or b"")
    backbone = marker and marker.backbone_fingerprint
    if backbone and backbone != compiled_for.backbone_fingerprint:
        raise UserError(
            f"{place} has another backbone than the package: {backbone[:_SHORT]}, not "
            f"{compiled_for.backbone_fingerprint[:_SHORT]}. {again}, or upload with the backbone "
            "that it has."
        )


if __name__ == "__main__":
    main()
