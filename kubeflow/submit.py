"""Submits a package: experiment, pipeline, version, run. What is there already is used again."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from inception_finetune.kubeflow.client import Client, without_links
from inception_finetune.kubeflow.package import Package

if TYPE_CHECKING:
    import kfp_server_api

_EQUALS = 1  # as filter.proto numbers it


def submit(
    client: Client,
    package: Package,
    parameters: Mapping[str, object],
    *,
    namespace: str | None,
    experiment: str | None = None,
    run_name: str | None = None,
    pipeline_root: str | None = None,
    service_account: str | None = None,
) -> "kfp_server_api.V2beta1Run":
    """Starts a run of `package`, uploading it unless the cluster has these very bytes.

    Raises:
      UserError: the API refuses a step; what was made before it stays, and is used the next time.
    """
    with without_links():
        parent = client.create_experiment(experiment or package.name, namespace=namespace)
        pipeline_id = _pipeline_id(client, package, namespace)
        return client.run_pipeline(
            experiment_id=parent.experiment_id,
            job_name=run_name or f"{package.name} {datetime.now():%Y-%m-%d %H:%M:%S}",
            params=dict(parameters),
            pipeline_id=pipeline_id,
            version_id=_version_id(client, package, pipeline_id),
            # Neither KFP's client nor its backend reads what the package says.
            pipeline_root=pipeline_root or package.spec.default_pipeline_root or None,
            service_account=service_account,
        )


def _pipeline_id(client: Client, package: Package, namespace: str | None) -> str:
    found = client.list_pipelines(filter=_named(package.name), namespace=namespace).pipelines
    if found:
        return found[0].pipeline_id
    # Not by upload: that would make a first version whose name does not tell its content.
    import kfp_server_api

    return client.pipelines.pipeline_service_create_pipeline(
        pipeline=kfp_server_api.V2beta1Pipeline(display_name=package.name, namespace=namespace)
    ).pipeline_id


def _version_id(client: Client, package: Package, pipeline_id: str) -> str:
    found = client.list_pipeline_versions(
        pipeline_id, filter=_named(package.version)
    ).pipeline_versions
    if found:
        return found[0].pipeline_version_id
    return client.upload_pipeline_version(
        str(package.path), package.version, pipeline_id=pipeline_id
    ).pipeline_version_id


def _named(name: str) -> str:
    predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})
