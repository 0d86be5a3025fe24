"""What the container of every task runs: ``python -m inception_finetune.kubeflow.entrypoint``.

Takes the arguments that TFX compiles for its own container entry point, and does around that
what the open-source backend leaves undone: copies what lies in object stores, runs ExampleGen's
driver, and leaves out a baseline that is not there.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from inception_finetune.components.errors import ExitStatus, UserError
from inception_finetune.components.infra_validator.settings import RESULT, ServerCheck
from inception_finetune.components.shown_text import visible
from inception_finetune.kubeflow import storage
from inception_finetune.kubeflow.parameters import DATA, SERVING, resolve
from inception_finetune.pipeline.quiet import set_up_environment

if TYPE_CHECKING:
    from inception_finetune.components.evaluation.verdict import Verdict

# Types of KFP's own: of what Pipelines' pages draw, and of the log that its launcher adds.
_FOREIGN = "system."
_LOG = "executor-logs"


def main() -> None:
    """Runs one task; a foreseeable failure is one line and status 1."""
    set_up_environment(verbose=False)
    from inception_finetune.pipeline.failure import as_user_error

    try:
        with as_user_error(), _wrong_settings_named():
            run_task(sys.argv[1:])
    except UserError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        sys.exit(ExitStatus.FAILED)


@contextmanager
def _wrong_settings_named() -> Iterator[None]:
    """Turns pydantic's refusal of a value that was given at submission into a UserError."""
    try:
        yield
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise UserError(
            f"{key}: {problem['msg']}, not {problem['input']!r}. Submit with another value."
        ) from error


def run_task(arguments: Sequence[str]) -> None:
    """Runs a task as TFX would, on copies of its inputs, and stores its outputs.

    Args:
      arguments: those of TFX's container entry point.

    Raises:
      UserError: an input is missing, a value is refused, or the store refuses.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", required=True)
    options, beam_arguments = parser.parse_known_args(arguments)
    task = Task(
        options.executor_class_path,
        json.loads(options.json_serialized_invocation_args),
        json.loads(options.json_serialized_inputs_spec_args),
    )
    task.fetch_inputs()
    task.prepare_outputs()
    options.json_serialized_invocation_args = json.dumps(task.invocation)
    driver_metadata = _run_driver(options) if task.is_example_gen else {}
    _run_executor(options, beam_arguments)
    for line in task.verdict_lines():
        print(line, flush=True)
    task.publish(driver_metadata)


class Task:
    """One task's invocation: KFP's ExecutorInput, with addresses turned into paths of copies."""

    def __init__(
        self, executor_class_path: str, invocation: dict[str, Any], inputs_spec: dict[str, Any]
    ) -> None:
        """Imports the task's executor.

        Args:
          executor_class_path: dotted path of the executor's class.
          invocation: the ExecutorInput as a dictionary; changed in place by the methods.
          inputs_spec: the component's inputDefinitions as a dictionary.

        Raises:
          UserError: the executor cannot be imported.
        """
        from tfx.components.evaluator.executor import Executor as EvaluatorExecutor
        from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
        from tfx.components.pusher.executor import Executor as PusherExecutor
        from tfx.utils.import_utils import import_class_by_path

        try:
            executor_class = import_class_by_path(executor_class_path)
        except ImportError as error:
            raise UserError(
                f"Cannot import {executor_class_path} in this image ({error.__cause__}). Build the "
                "image at the revision that the package was compiled at."
            ) from error
        self.is_example_gen = issubclass(executor_class, BaseExampleGenExecutor)
        self._is_pusher = issubclass(executor_class, PusherExecutor)
        self._is_evaluator = issubclass(executor_class, EvaluatorExecutor)
        self.invocation = invocation
        self._inputs_spec = inputs_spec
        self._parameters: dict[str, Any] = {}
        self._outputs: dict[str, str] = {}  # place of each output by its key
        self._drawn: set[str] = set()  # outputs of KFP's types, which TFX knows nothing of
        self._output_file = ""

    def fetch_inputs(self) -> None:
        """Copies input artifacts, and what parameters name below the folder of the data.

        Raises:
          UserError: an input is missing, or the store refuses.
        """
        from inception_finetune.kubeflow.baseline import ABSENT

        inputs = self.invocation.setdefault("inputs", {})
        self._parameters = resolve(inputs.get("parameterValues", {}))
        declared = self._inputs_spec.get("parameters", {})
        inputs["parameterValues"] = {
            name: self._on_this_machine(value)
            for name, value in self._parameters.items()
            if name in declared
        }
        present = {}
        for key, artifacts in inputs.get("artifacts", {}).items():
            [artifact] = artifacts["artifacts"]
            if artifact.get("metadata", {}).get(ABSENT):
                continue
            # Some backends do not say the type, or only its title.
            artifact["type"] = self._inputs_spec["artifacts"][key]["artifactType"]
            artifact["uri"] = _fetch_artifact(artifact["uri"])
            present[key] = artifacts
        inputs["artifacts"] = present

    def prepare_outputs(self) -> None:
        """Makes a folder for each output, and removes an earlier attempt's output file."""
        outputs = self.invocation["outputs"]
        declared = outputs.get("artifacts", {})
        outputs["artifacts"] = {
            key: artifacts
            for key, artifacts in declared.items()
            if not _schema_title(artifacts["artifacts"][0]).startswith(_FOREIGN)
        }
        self._drawn = set(declared) - set(outputs["artifacts"]) - {_LOG}
        for key, artifacts in outputs["artifacts"].items():
            [artifact] = artifacts["artifacts"]
            self._outputs[key] = artifact["uri"]
            artifact["uri"] = storage.local_copy(artifact["uri"])
            Path(artifact["uri"]).mkdir(parents=True, exist_ok=True)
        serving = self._parameters.get(SERVING, "")
        if self._is_pusher and storage.is_remote(serving):
            # The executor gives the new version a higher number than those that it sees.
            for file in storage.find(serving):
                version = Path(storage.local_copy(serving), file.partition("/")[0])
                version.mkdir(parents=True, exist_ok=True)
        self._output_file = outputs["outputFile"]
        outputs["outputFile"] = storage.local_copy(self._output_file)
        local = Path(outputs["outputFile"])
        local.parent.mkdir(parents=True, exist_ok=True)
        local.unlink(missing_ok=True)

    def verdict_lines(self) -> list[str]:
        """Returns what Evaluator or InfraValidator has decided, and why. Else nothing.

        Their own logs do not say.
        """
        for place in self._outputs.values():
            result = Path(storage.local_copy(place)) / RESULT
            if result.is_file():
                return [
                    visible(ServerCheck.model_validate_json(result.read_text("utf-8")).sentence)
                ]
        if not self._is_evaluator:
            return []
        verdict = self._verdict
        measured = [f"{name}: {value:.4f}" for name, value in sorted(verdict.metrics.items())]
        if verdict.blessed:
            return [*measured, "blessed"]
        return [*measured, f"not blessed: {visible('; '.join(verdict.refusals))}"]

    @cached_property
    def _verdict(self) -> "Verdict":
        from tfx.utils.path_utils import serving_model_path

        from inception_finetune.components.evaluation.label_names import read_label_names
        from inception_finetune.components.evaluation.verdict import read_verdict

        inputs, outputs = self.invocation["inputs"], self.invocation["outputs"]
        [model] = inputs["artifacts"]["model"]["artifacts"]
        [evaluation] = outputs["artifacts"]["evaluation"]["artifacts"]
        names = read_label_names(Path(serving_model_path(model["uri"])))
        return read_verdict(evaluation["uri"], names)

    def publish(self, driver_metadata: dict[str, Any]) -> None:
        """Copies outputs to the store, and after them the file that describes them.

        Args:
          driver_metadata: metadata from ExampleGen's driver by output. The executor, which writes
            the same file, does not know it.

        Raises:
          UserError: the store refuses.
        """
        for place in self._outputs.values():
            if storage.is_remote(place):
                _name_places(Path(storage.local_copy(place)))
                storage.store(Path(storage.local_copy(place)), place)
        serving = self._parameters.get(SERVING, "")
        if self._is_pusher and storage.is_remote(serving):
            storage.store(Path(storage.local_copy(serving)), serving)
        file = Path(self.invocation["outputs"]["outputFile"])
        output = json.loads(storage.remote_places(file.read_text("utf-8")))
        for key, metadata in driver_metadata.items():
            [artifact] = output["artifacts"][key]["artifacts"]
            artifact["metadata"] = metadata | artifact.get("metadata", {})
        for key, artifact in self._drawings().items():
            output["artifacts"][key] = {"artifacts": [artifact]}
        file.write_text(json.dumps(output), "utf-8")
        if storage.is_remote(self._output_file):
            storage.store_file(file, self._output_file)

    def _drawings(self) -> dict[str, dict[str, Any]]:
        """What the output file says of the outputs of KFP's types, by key."""
        if not self._drawn:
            return {}
        from inception_finetune.kubeflow import visualizations

        drawn: dict[str, dict[str, Any]] = {}
        if visualizations.METRICS in self._drawn:
            drawn[visualizations.METRICS] = visualizations.metrics(self._verdict.metrics)
        if visualizations.CONFUSION_MATRIX in self._drawn:
            place = self._outputs[visualizations.REPORT_ARTIFACT]
            matrix = visualizations.confusion_matrix(Path(storage.local_copy(place)))
            drawn[visualizations.CONFUSION_MATRIX] = matrix
            drawn[visualizations.REPORT] = visualizations.report_page(place)
        return drawn

    def _on_this_machine(self, value: Any) -> Any:
        """A parameter with the paths of copies: of data, which is fetched, and of the pushed."""
        if not isinstance(value, str):
            return value
        data = self._parameters.get(DATA, "")
        if storage.is_remote(data):
            below = re.compile(re.escape(data) + r"""[^"'\s\\]*""")
            value = below.sub(lambda match: storage.fetch(match[0]), value)
        serving = self._parameters.get(SERVING, "")
        if self._is_pusher and serving:
            value = value.replace(serving, storage.local_copy(serving))
        return value


def _fetch_artifact(place: str) -> str:
    """Copies an artifact; and the pictures that trunk features were made of, which they name."""
    from inception_finetune.components.trunk_features.store import read_origin, write_origin

    path = storage.fetch(place)
    origin = read_origin(path)
    if storage.is_remote(origin):
        write_origin(path, storage.fetch(origin))
    return path


def _name_places(artifact: Path) -> None:
    """Trunk features name the artifact with their pictures: by its place, not by a copy's path."""
    from inception_finetune.components.trunk_features.store import read_origin, write_origin

    origin = read_origin(str(artifact))
    if origin != str(artifact):
        write_origin(str(artifact), storage.remote_places(origin))


def _schema_title(artifact: dict[str, Any]) -> str:
    kind = artifact.get("type", {})
    title = re.search(r"^title: *(\S+)", kind.get("instanceSchema", ""), re.MULTILINE)
    return kind.get("schemaTitle") or (title[1] if title else "")


def _run_driver(options: argparse.Namespace) -> dict[str, Any]:
    """Runs ExampleGen's driver, which leaves a file for the executor; returns its metadata."""
    from tfx.orchestration.kubeflow.v2.file_based_example_gen import driver

    driver.main(options)
    file = json.loads(options.json_serialized_invocation_args)["outputs"]["outputFile"]
    output = json.loads(Path(file).read_text("utf-8"))
    return {
        key: artifacts["artifacts"][0].get("metadata", {})
        for key, artifacts in output["artifacts"].items()
    }


def _run_executor(options: argparse.Namespace, beam_arguments: list[str]) -> None:
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    kubeflow_v2_run_executor.main((options, beam_arguments))


if __name__ == "__main__":
    main()
