"""What each task's container gets: processor, memory, accelerator, environment, cache."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes

from inception_finetune.components.errors import UserError
from inception_finetune.components.steps import Step
from inception_finetune.kubeflow.window import TASK as WINDOW
from inception_finetune.pipeline.kubeflow_settings import Kubeflow, Resources

# What changes without any of their inputs: the pushed models, and the uploads.
NEVER_CACHED = (Step.BASELINE, Step.WARM_START, WINDOW)


def apply(
    package: dict[str, Any],
    settings: Kubeflow,
    environments: Mapping[str, Mapping[str, str]],
) -> None:
    """Writes `settings` into the containers and tasks of a PipelineSpec.

    Args:
      package: the PipelineSpec as a dictionary; changed in place.
      settings: the section `kubeflow` of the configuration.
      environments: variables of single tasks, by the task's name, besides those of all.

    Raises:
      UserError: `settings` has resources for a task that the pipeline does not have.
    """
    tasks = package["root"]["dag"]["tasks"]
    if unknown := sorted(set(settings.tasks) - set(tasks)):
        raise UserError(
            f"Unknown tasks in kubeflow.tasks: {', '.join(unknown)}. Give tasks of the pipeline: "
            f"{', '.join(sorted(tasks))}."
        )
    for name, task in tasks.items():
        container = _executor(package, task)["container"]
        container["resources"] = _resources(settings.tasks.get(name, settings.resources))
        variables = {**settings.environment, **environments.get(name, {})}
        container["env"] = [
            {"name": variable, "value": value} for variable, value in variables.items()
        ]
        # Only some backends run it; the task's entry point does, on all.
        container.pop("lifecycle", None)
        if settings.retries:
            task["retryPolicy"] = {"maxRetryCount": settings.retries}
        task["cachingOptions"] = {"enableCache": settings.caching and name not in NEVER_CACHED}


def documents(package: dict[str, Any], settings: Kubeflow) -> list[dict[str, Any]]:
    """Makes the package's second document, with what only Kubernetes has.

    Args:
      package: the PipelineSpec as a dictionary.
      settings: the section `kubeflow` of the configuration.

    Returns:
      One PlatformSpec as a dictionary, or nothing if the settings need none.
    """
    config = kubernetes.KubernetesExecutorConfig()
    for secret, keys in settings.secrets.items():
        added = config.secret_as_env.add(secret_name=secret)
        for key, variable in keys.items():
            added.key_to_env.add(secret_key=key, env_var=variable)
    for claim, folder in settings.volumes.items():
        config.pvc_mount.add(constant=claim, mount_path=folder)
    config.node_selector.labels.update(settings.node_selector)
    for toleration in settings.tolerations:
        config.tolerations.add(**toleration.model_dump())
    for secret in settings.pull_secrets:
        config.image_pull_secret.add(secret_name=secret)
    if settings.run_as_non_root:
        config.security_context.run_as_non_root = True
    if settings.timeout:
        config.active_deadline_seconds = settings.timeout
    if not config.ListFields():
        return []
    executors = {
        package["components"][task["componentRef"]["name"]]["executorLabel"]: (
            json_format.MessageToDict(config)
        )
        for task in package["root"]["dag"]["tasks"].values()
    }
    return [{"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}]


def _executor(package: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    label = package["components"][task["componentRef"]["name"]]["executorLabel"]
    return package["deploymentSpec"]["executors"][label]


def _resources(wanted: Resources) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "cpuRequest": wanted.cpu,
        "cpuLimit": wanted.cpu,
        "memoryRequest": wanted.memory,
        "memoryLimit": wanted.memory,
    }
    if wanted.accelerators:
        resources["accelerator"] = {
            "type": wanted.accelerator,
            "count": str(wanted.accelerators),
        }
    return resources
