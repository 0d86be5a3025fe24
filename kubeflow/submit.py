"""Reads a compiled package and submits it: experiment, pipeline, version, run or recurring run.

What the cluster has already is used again.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kfp
from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType, PipelineSpec

from inception_finetune.components.errors import UserError
from inception_finetune.kubeflow.parameters import DATA, NEWEST, SPAN
from inception_finetune.kubeflow.schedules import Schedule, list_schedules
from inception_finetune.kubeflow.task_states import task_names

if TYPE_CHECKING:
    from kfp_server_api import V2beta1RecurringRun, V2beta1Run

_EQUALS = 1  # as filter.proto numbers it
_BOOLEANS = {"true": True, "false": False}
# How a parameter's text becomes the JSON value that the API takes, and what it must be.
_READERS: dict[int, tuple[Callable[[str], object], str]] = {
    ParameterType.STRING: (str, "a text"),
    ParameterType.NUMBER_INTEGER: (int, "a whole number"),
    ParameterType.NUMBER_DOUBLE: (float, "a number"),
    ParameterType.BOOLEAN: (lambda text: _BOOLEANS[text.lower()], "true or false"),
}


@dataclass(frozen=True)
class Package:
    """A compiled pipeline."""

    path: Path
    name: str  # the pipeline's
    version: str  # 12 hexadecimal digits, the same for the same bytes
    spec: PipelineSpec
    tasks: tuple[str, ...]  # each after all that it depends on


def read_package(path: Path) -> Package:
    """Reads a package as KFP does.

    Args:
      path: a .yaml that `kubeflow compile` has written.

    Returns:
      The package.

    Raises:
      UserError: there is no such file, or not one that Kubeflow Pipelines takes.
    """
    try:
        content = path.read_bytes()
        if path.suffix not in (".yaml", ".yml"):
            raise ValueError("its name does not end in .yaml")
        spec = kfp.components.load_component_from_file(str(path)).pipeline_spec
        tasks = task_names(spec)
    except OSError as error:
        raise UserError(
            f"Cannot read --package {path}: {error.strerror}. Give a readable file."
        ) from None
    except Exception as error:  # KFP raises many types for a file of something else
        raise UserError(
            f"Not a package for Kubeflow in {path}: {' '.join(str(error).split())[:160]}. Write "
            "one with `kubeflow compile -o FILE.yaml`."
        ) from None
    version = hashlib.sha256(content).hexdigest()[:12]
    return Package(path, spec.pipeline_info.name, version, spec, tasks)


def parse_parameters(package: Package, assignments: Sequence[str]) -> dict[str, object]:
    """Reads ``KEY=VALUE`` texts as values of a package's parameters, each as its own type.

    Args:
      package: the package.
      assignments: the texts.

    Returns:
      Values by name; parameters that keep their defaults are left out.

    Raises:
      UserError: a parameter is unknown, has a value of another type, or has neither a value nor a
        default.
    """
    known = package.spec.root.input_definitions.parameters
    listed = f"The package's parameters: {', '.join(sorted(known)) or 'none'}"
    values: dict[str, object] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"{assignment!r} is not KEY=VALUE. {listed}.")
        if key not in known:
            raise UserError(
                f"Unknown parameter {key} in {package.path}. {listed}; for other settings compile "
                f"again: `kubeflow compile -o FILE.yaml {assignment}`, then --package FILE.yaml."
            )
        values[key] = _value(key, text, known[key].parameter_type)
    missing = sorted(
        name
        for name, parameter in known.items()
        if name not in values
        and not parameter.is_optional
        and parameter.default_value.WhichOneof("kind") is None
    )
    if missing:
        raise UserError(
            f"No value for {', '.join(missing)}, which {package.path} has no default for. Give "
            f"{' '.join(f'{name}=VALUE' for name in missing)}."
        )
    return values


def data_of_each_run(package: Package, values: Mapping[str, object]) -> str | None:
    """Says what each run of a recurring run reads.

    Args:
      package: the package.
      values: of its parameters, as `parse_parameters` gives them.

    Returns:
      A line; None for a package that is not of spans, whose `data` does not change.
    """
    if SPAN not in package.spec.root.input_definitions.parameters:
        return None
    if data := values.get(DATA):
        return f"each run reads {data}, whatever is uploaded later"
    span = values.get(SPAN, NEWEST)
    which = "the newest upload" if span == NEWEST else f"the newest upload of span {span}"
    return f"each run reads {which} of {package.name} that is there when it starts"


@dataclass(frozen=True)
class Submission:
    """What a run and a recurring run are made of."""

    package: Package
    parameters: Mapping[str, object]  # values by name
    namespace: str | None = None  # the user's, on a cluster with several
    experiment: str | None = None  # made if it does not exist; None for the pipeline's name
    name: str | None = None  # of the run; None for the pipeline's, of one run with the time
    pipeline_root: str | None = None  # folder of the artifacts; None for the package's
    service_account: str | None = None  # of the pods; None for the cluster's default


def submit(client: kfp.Client, submission: Submission) -> "V2beta1Run":
    """Starts a run of a package, uploading it unless the cluster has these very bytes.

    Args:
      client: of the API.
      submission: what to run, and how.

    Returns:
      The run as the API has made it.

    Raises:
      UserError: the API refuses a step. What was made before remains, and is used the next time.
    """
    now = f"{submission.package.name} {datetime.now():%Y-%m-%d %H:%M:%S}"
    with contextlib.redirect_stdout(io.StringIO()):  # KFP prints an address for each step
        return client.run_pipeline(job_name=submission.name or now, **_uploaded(client, submission))


def submit_recurring(
    client: kfp.Client, submission: Submission, schedule: Schedule
) -> "V2beta1RecurringRun":
    """Makes a recurring run of a package, uploading it unless the cluster has these very bytes.

    Args:
      client: of the API.
      submission: what to run, and how.
      schedule: when.

    Returns:
      The recurring run as the API has made it.

    Raises:
      UserError: there is a recurring run of that name, or the API refuses a step. What was made
        before remains, and is used the next time.
    """
    name = submission.name or submission.package.name
    for other in list_schedules(client, submission.namespace):
        if other.display_name == name:
            raise UserError(
                f"Recurring run {name} exists already: {other.recurring_run_id}. Remove it with "
                f"`kubeflow schedule delete {other.recurring_run_id}`, or give another --run-name."
            )
    with contextlib.redirect_stdout(io.StringIO()):
        return client.create_recurring_run(
            job_name=name,
            cron_expression=schedule.cron,
            max_concurrency=schedule.max_concurrency,
            no_catchup=not schedule.catch_up,
            **_uploaded(client, submission),
        )


def _uploaded(client: kfp.Client, submission: Submission) -> dict[str, Any]:
    """Makes what is not there yet; returns what KFP's client takes for either kind of run."""
    package, namespace = submission.package, submission.namespace
    parent = client.create_experiment(submission.experiment or package.name, namespace=namespace)
    pipeline_id = _pipeline_id(client, package, namespace)
    return {
        "experiment_id": parent.experiment_id,
        "params": dict(submission.parameters),
        "pipeline_id": pipeline_id,
        "version_id": _version_id(client, package, pipeline_id),
        # Neither KFP's client nor its backend reads the package's.
        "pipeline_root": submission.pipeline_root or package.spec.default_pipeline_root or None,
        "service_account": submission.service_account,
    }


def _value(key: str, text: str, kind: int) -> object:
    read, description = _READERS.get(kind, (json.loads, "JSON"))
    try:
        return read(text)
    except (ValueError, KeyError):
        raise UserError(f"{key}={text} is not {description}. Correct the value.") from None


def _pipeline_id(client: kfp.Client, package: Package, namespace: str | None) -> str:
    # Not `get_pipeline_id`, which does not look into a namespace.
    pipelines = client.list_pipelines(filter=_by_name(package.name), namespace=namespace).pipelines
    if pipelines:
        return pipelines[0].pipeline_id
    # Not `upload_pipeline`, which names the first version after the pipeline, not its content.
    return client.pipelines.pipeline_service_create_pipeline(
        pipeline=client.api_models.V2beta1Pipeline(display_name=package.name, namespace=namespace)
    ).pipeline_id


def _version_id(client: kfp.Client, package: Package, pipeline_id: str) -> str:
    versions = client.list_pipeline_versions(
        pipeline_id, filter=_by_name(package.version)
    ).pipeline_versions
    version = (
        versions[0]
        if versions
        else client.upload_pipeline_version(
            str(package.path), package.version, pipeline_id=pipeline_id
        )
    )
    return version.pipeline_version_id


def _by_name(name: str) -> str:
    predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})
