"""The pipeline as a package for Kubeflow Pipelines or Vertex AI, made without network."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.types import BaseChannel

from inception_finetune.components import features
from inception_finetune.components.dataset.manifest import load_manifest
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.steps import Step
from inception_finetune.components.warm_start.start import SAME_SETTINGS
from inception_finetune.kubeflow import parameters as runtime
from inception_finetune.kubeflow import platform, visualizations, window
from inception_finetune.kubeflow.baseline import PushedBaseline, PushedStart
from inception_finetune.kubeflow.task_states import push_only_when_blessed
from inception_finetune.kubeflow.upload import (
    BACKBONE,
    RECORDS,
    plan_upload,
    schema_name,
    storage_folder,
    uploads_folder,
)
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.failure import as_user_error
from inception_finetune.pipeline.inputs import Inputs, prepare_inputs
from inception_finetune.pipeline.locks import pipeline_lock
from inception_finetune.pipeline.pipeline import create_pipeline, execution
from inception_finetune.trainer.settings import TrainerSettings

COMMAND = ("python", "-m", "inception_finetune.kubeflow.entrypoint")
KUBEFLOW, VERTEX = (".yaml", ".yml"), (".json",)
_BY_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")


def compile_pipeline(config: Config, output: Path) -> None:
    """Compiles the pipeline for a cluster.

    Inputs are prepared on this machine as for a run, for what the package must know of them:
    label names, the backbone's fingerprint, the length of an epoch.

    Args:
      config: the configuration.
      output: the file to write: a .yaml for Kubeflow Pipelines, or a .json, a job of Vertex AI.

    Raises:
      UserError: the image is not pinned, storage is missing or does not fit, a task is unknown, or
        another process works in the pipeline's root.
    """
    _check(config, output)
    with as_user_error(), pipeline_lock(Path(config.root)):
        inputs = prepare_inputs(config)
        plan = plan_upload(inputs)
        steps = _training_steps(config, inputs)
    job = _compile(config, inputs, steps)
    package = job["pipelineSpec"]
    package["defaultPipelineRoot"] = f"{storage_folder(config)}/runs"
    runtime.insert(package, runtime.parameters(config, plan.place(config), steps))
    if inputs.spans:
        window.insert(package, config.kubeflow.image, _compiled_for(config, inputs))
    platform.apply(package, config.kubeflow, _environments(config))
    push_only_when_blessed(package)
    visualizations.declare(package)
    documents = [package]
    if output.suffix in KUBEFLOW:
        documents += platform.documents(package, config.kubeflow)
        text = "---\n".join(yaml.safe_dump(document, sort_keys=True) for document in documents)
    else:
        job["runtimeConfig"]["gcsOutputDirectory"] = package["defaultPipelineRoot"]
        text = json.dumps(job, indent=2, sort_keys=True) + "\n"
    with whole_file(output) as temporary:
        temporary.write_text(text, "utf-8")


def _check(config: Config, output: Path) -> None:
    """Refuses what is wrong without preparing anything."""
    kubeflow = config.kubeflow
    if output.suffix not in (*KUBEFLOW, *VERTEX):
        raise UserError(
            f"Unknown kind of package in --output {output}. Give a .yaml for Kubeflow or a .json "
            "for Vertex AI."
        )
    if not kubeflow.image or not (
        _BY_DIGEST.fullmatch(kubeflow.image) or kubeflow.allow_unpinned_image
    ):
        raise UserError(
            f"kubeflow.image {kubeflow.image!r} is not pinned by its digest. Build "
            "kubeflow/Dockerfile, push it and give REPOSITORY@sha256:... with the digest that is "
            "printed, or allow a tag for a trial with kubeflow.allow_unpinned_image=true."
        )
    if output.suffix in VERTEX:
        if not kubeflow.storage.startswith("gs://"):
            raise UserError(
                f"Vertex AI cannot open kubeflow.storage {kubeflow.storage!r}. Give a folder at "
                "gs://."
            )
        if kubeflow.secrets or kubeflow.volumes:
            raise UserError(
                "Vertex AI has neither kubeflow.secrets nor kubeflow.volumes of Kubernetes: "
                f"{', '.join([*kubeflow.secrets, *kubeflow.volumes])}. Remove them."
            )
    storage_folder(config)


def _compile(config: Config, inputs: Inputs, steps: int) -> dict[str, Any]:
    """TFX's own compilation, with places and length of the training as the tasks must see them."""
    training = config.training.model_copy(update={"epochs": None, "steps": steps})
    handle = _without_folder(config.backbone.handle)
    dataset = {
        key: _without_folder(place)
        for key in ("archive", "spans", "golden", "corrections")
        if (place := getattr(config.dataset, key))
    }
    on_cluster = config.model_copy(
        update={
            "root": config.kubeflow.work,
            "training": training,
            "backbone": config.backbone.model_copy(update={"handle": handle}),
            "dataset": config.dataset.model_copy(update=dataset),
        }
    )
    data, serving = map(runtime.placeholder, (runtime.DATA, runtime.SERVING))
    places = Inputs(
        records=f"{data}/{RECORDS}",
        schema_file=f"{data}/{schema_name(inputs)}",
        label_names=inputs.label_names,
        network=inputs.network,
        backbone=f"{data}/{BACKBONE}",
        backbone_fingerprint=inputs.backbone_fingerprint,
        serving=serving,
        metadata=None,  # the cluster has its own
    )

    def make_baseline(candidate: BaseChannel) -> BaseNode:
        return PushedBaseline(candidate=candidate, pushed=serving)

    def make_warm_start(
        transform_graph: BaseChannel, settings: TrainerSettings, cold_every: int
    ) -> BaseNode:
        return PushedStart(
            pushed=serving,
            settings=settings.model_dump_json(include=set(SAME_SETTINGS)),
            cold_every=cold_every,
        )

    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=config.kubeflow.image,
            default_commands=list(COMMAND),
            use_pipeline_spec_2_1=True,
        )
    )
    pipeline = create_pipeline(on_cluster, places, make_baseline, make_warm_start)
    return runner.run(pipeline, write_out=False)


def _environments(config: Config) -> dict[str, dict[str, str]]:
    """How trainings are carried out, which no cache key holds."""
    on_cluster = config.model_copy(update={"root": config.kubeflow.work})
    return dict.fromkeys((Step.TRAINER, Step.TUNER), execution(on_cluster).as_variable())


def _without_folder(place: str) -> str:
    """For the report's lineage: without the file's folder on this machine."""
    return place if "://" in place else Path(place).name


def _training_steps(config: Config, inputs: Inputs) -> int:
    training = config.training
    if training.steps:
        return training.steps
    examples = load_manifest(Path(inputs.records)).counts[features.TRAIN]
    return window.steps_of(training.epochs or 1, examples, training.batch_size)


def _compiled_for(config: Config, inputs: Inputs) -> window.CompiledFor:
    return window.CompiledFor(
        uploads=uploads_folder(config),
        name=config.name,
        label_names=inputs.label_names,
        backbone_fingerprint=inputs.backbone_fingerprint,
        epochs=config.training.epochs or 1,
        batch_size=config.training.batch_size,
    )
