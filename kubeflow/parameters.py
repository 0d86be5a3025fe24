"""What can be changed when a compiled package is submitted, and how it reaches the tasks.

TFX's own RuntimeParameter must be a component's whole argument, loses its default, and cannot be
part of a path or of a JSON object. KFP's DSL has a way that can: a constant that holds
``{{$.inputs.parameters['name']}}`` beside an input `name` of the task. Backends fill it in, or
the task's entry point does.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inception_finetune.components.evaluation.metrics import ACCURACY, METRICS
from inception_finetune.pipeline.config import Config

DATA = "data"
SPAN = "span"
NEWEST = "newest"  # a value of SPAN
SERVING = "serving"
TRAINING_STEPS = "training_steps"
LEARNING_RATE = "learning_rate"

# Where a number lies in the settings that a component is given: the last two keys.
_NUMBERS = {
    ("training", "steps"): TRAINING_STEPS,
    ("training", "learning_rate"): LEARNING_RATE,
    ("gate", "min_accuracy"): ACCURACY.parameter,
    **{(metric.name, metric.bound_key): metric.parameter for metric in METRICS.values()},
}
_PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}")


@dataclass(frozen=True)
class Parameter:
    """A value that can be given when a package is submitted."""

    name: str
    kind: str  # as KFP names it
    default: str | int | float
    description: str


def parameters(config: Config, data: str, training_steps: int) -> tuple[Parameter, ...]:
    """Those of a package, with the values of `config` as defaults.

    Of a package of spans, `data` and `training_steps` are left to its task `window`.
    """
    serving = f"{config.kubeflow.storage}/serving/{config.name}"
    folder, steps, of_spans = "folder that `kubeflow upload` wrote", "optimizer steps", []
    if config.dataset.spans:
        data, training_steps = "", config.training.steps or 0
        folder += "; empty: the one that `span` names"
        steps += "; 0: the configured epochs of the window"
        text = "the newest upload whose newest span is this one, such as 2026-11-27, or `newest`"
        of_spans = [Parameter(SPAN, "STRING", NEWEST, text)]
    return (
        Parameter(DATA, "STRING", data, folder),
        *of_spans,
        Parameter(SERVING, "STRING", serving, "folder of the pushed versions"),
        Parameter(TRAINING_STEPS, "NUMBER_INTEGER", training_steps, steps),
        Parameter(
            LEARNING_RATE, "NUMBER_DOUBLE", config.training.learning_rate, "Adam's highest rate"
        ),
        *_bounds(config),
    )


def _bounds(config: Config) -> Iterator[Parameter]:
    """The values that the gate bounds, in the order of `Gate.bounds_by_metric`."""
    for name, bound in config.gate.bounds_by_metric.items():
        metric = METRICS[name]
        value = bound.value(metric)
        if value is not None:
            side = "lowest" if metric.higher_is_better else "highest"
            description = f"{side} {metric.title} on test for a blessing"
            yield Parameter(metric.parameter, "NUMBER_DOUBLE", value, description)


def placeholder(name: str) -> str:
    """The text that stands for a parameter's value in a constant."""
    return f"{{{{$.inputs.parameters['{name}']}}}}"


def insert(package: dict[str, Any], chosen: tuple[Parameter, ...]) -> None:
    """Makes `chosen` inputs of the pipeline, and of each task whose constants depend on them."""
    root = package["root"]
    root["inputDefinitions"] = {
        "parameters": {
            parameter.name: {
                "parameterType": parameter.kind,
                "defaultValue": parameter.default,
                "description": parameter.description,
                "isOptional": True,
            }
            for parameter in chosen
        }
    }
    for task in root["dag"]["tasks"].values():
        given = task.get("inputs", {}).get("parameters", {})
        component = package["components"][task["componentRef"]["name"]]
        needed = set()
        for value in given.values():
            constant = value.get("runtimeValue", {}).get("constant")
            if isinstance(constant, str):
                value["runtimeValue"]["constant"] = constant = _with_placeholders(constant)
                needed |= set(_PLACEHOLDER.findall(constant))
        for parameter in chosen:
            if parameter.name in needed:
                given[parameter.name] = {"componentInputParameter": parameter.name}
                component["inputDefinitions"]["parameters"][parameter.name] = {
                    "parameterType": parameter.kind
                }


def resolve(values: Mapping[str, Any]) -> dict[str, Any]:
    """A task's parameter values with every placeholder filled in, where no backend did it."""

    def fill(match: re.Match[str]) -> str:
        value = values[match[1]]
        # Numbers arrive as 1500.0, which is no number of steps.
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)

    return {
        name: _PLACEHOLDER.sub(fill, value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def _with_placeholders(text: str) -> str:
    """`text`, if it is a JSON object, with placeholders for its numbers that are parameters."""
    try:
        content = json.loads(text)
    except ValueError:
        return text
    if not isinstance(content, dict):
        return text
    found = False
    numbers = _thresholds(content) if "metrics_specs" in content else _numbers(content)
    for section, key, name in list(numbers):
        section[key] = placeholder(name)
        found = True
    if not found:
        return text
    # A number's placeholder stands without the quotes of a text.
    dumped = json.dumps(content, sort_keys=True)
    for name in set(_NUMBERS.values()):
        dumped = dumped.replace(json.dumps(placeholder(name)), placeholder(name))
    return dumped


def _numbers(content: Any) -> Iterator[tuple[dict[str, Any], str, str]]:
    if isinstance(content, list):
        for item in content:
            yield from _numbers(item)
    if not isinstance(content, dict):
        return
    for name, section in content.items():
        yield from _numbers(section)
        if isinstance(section, dict):
            for key, value in section.items():
                if (name, key) in _NUMBERS and isinstance(value, int | float):
                    yield section, key, _NUMBERS[name, key]


def _thresholds(eval_config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """The bounds of values of the gate's metrics; bounds of a change are none of them."""
    for spec in eval_config["metrics_specs"]:
        for measured in spec.get("metrics", ()):
            metric = METRICS.get(json.loads(measured.get("config") or "{}").get("name"))
            if metric is None:
                continue
            key = "lower_bound" if metric.higher_is_better else "upper_bound"
            for bounded in measured.get("per_slice_thresholds", ()):
                section = bounded["threshold"].get("value_threshold", {})
                if key in section:
                    yield section, key, metric.parameter
