"""A compiled package: what it is called, which tasks and which parameters it has."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import kfp
from kfp.pipeline_spec import pipeline_spec_pb2

from inception_finetune.components.errors import UserError

# What a parameter's text is read as; the API takes JSON values.
_WHOLE = pipeline_spec_pb2.ParameterType.NUMBER_INTEGER
_NUMBER = pipeline_spec_pb2.ParameterType.NUMBER_DOUBLE
_BOOLEAN = pipeline_spec_pb2.ParameterType.BOOLEAN
_STRING = pipeline_spec_pb2.ParameterType.STRING
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Package:
    path: Path
    name: str  # the pipeline's
    version: str  # the same for the same bytes
    spec: pipeline_spec_pb2.PipelineSpec


def read_package(path: Path) -> Package:
    """Reads a package as KFP does.

    Raises:
      UserError: no such file, or not one that Kubeflow Pipelines takes.
    """
    try:
        content = path.read_bytes()
        if path.suffix not in (".yaml", ".yml"):
            raise ValueError("its name does not end in .yaml")
        spec = kfp.components.load_component_from_file(str(path)).pipeline_spec
    except OSError as error:
        raise UserError(
            f"--package must be a readable file. Received: {path} ({error.strerror})"
        ) from None
    except Exception as error:  # what KFP raises for a file of something else is not one type
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"--package must be what `kubeflow compile -o FILE.yaml` writes. Received: {path} "
            f"({reason}); compile it again"
        ) from None
    version = hashlib.sha256(content).hexdigest()[:12]
    return Package(path, spec.pipeline_info.name, version, spec)


def task_names(spec: pipeline_spec_pb2.PipelineSpec) -> tuple[str, ...]:
    """The tasks of the package, each after all that it depends on."""
    waiting = {name: set(task.dependent_tasks) for name, task in spec.root.dag.tasks.items()}
    ordered: list[str] = []
    while waiting:
        ready = sorted(name for name, needs in waiting.items() if not needs & waiting.keys())
        if not ready:  # KFP would refuse such a package
            ready = sorted(waiting)
        ordered += ready
        for name in ready:
            del waiting[name]
    return tuple(ordered)


def parse_parameters(package: Package, assignments: Sequence[str]) -> dict[str, object]:
    """``KEY=VALUE`` texts as the package's parameters, each read as its own type.

    Raises:
      UserError: no such parameter, a value of another type, or one that is needed is missing.
    """
    known = package.spec.root.input_definitions.parameters
    values: dict[str, object] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(
                f"a parameter must read KEY=VALUE. Received: {assignment!r}; {_names(known)}"
            )
        if key not in known:
            raise UserError(
                f"a run can change its package's parameters alone. Received: {key}; "
                f"{_names(known)}; every other setting is compiled in: "
                f"`kubeflow compile -o FILE.yaml {assignment}`, then --package FILE.yaml"
            )
        values[key] = _value(key, text, known[key].parameter_type)
    missing = [
        name
        for name, parameter in known.items()
        if name not in values
        and not parameter.is_optional
        and parameter.default_value.WhichOneof("kind") is None
    ]
    if missing:
        raise UserError(
            f"each parameter without a default must be given. Received: no "
            f"{', '.join(sorted(missing))}; give {sorted(missing)[0]}=VALUE"
        )
    return values


def _names(known) -> str:
    return f"the package has {', '.join(sorted(known)) or 'none'}"


def _value(key: str, text: str, kind: int) -> object:
    rules = {_WHOLE: "a whole number", _NUMBER: "a number", _BOOLEAN: "true or false"}
    try:
        if kind == _WHOLE:
            return int(text)
        if kind == _NUMBER:
            return float(text)
        if kind == _BOOLEAN:
            return _BOOLEANS[text.lower()]
    except (ValueError, KeyError):
        raise UserError(f"{key} must be {rules[kind]}. Received: {text!r}") from None
    if kind != _STRING:
        raise UserError(
            f"{key} is a list or a structure, which only a program can give. Received: {text!r}"
        )
    return text
