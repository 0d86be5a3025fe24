"""The section `kubeflow` of the configuration: where and with what the tasks run on a cluster."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from inception_finetune.components.settings import Section
from inception_finetune.components.steps import Step

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Resources(Section):
    """What a task asks for, and what it may use at most."""

    cpu: _Positive = 2  # cores
    memory: _Positive = 8  # GB
    accelerator: str = ""  # "nvidia.com/gpu", or Vertex AI's name such as NVIDIA_TESLA_T4
    accelerators: int = Field(0, ge=0)  # how many

    @model_validator(mode="after")
    def _names_what_it_counts(self) -> "Resources":
        if bool(self.accelerator) != bool(self.accelerators):
            raise ValueError(
                "accelerator and accelerators must be given together, here they are "
                f"{self.accelerator!r} and {self.accelerators}"
            )
        return self


class Serving(Section):
    """What serves the pushed model: TensorFlow Serving, by itself or under KServe."""

    image: str = "tensorflow/serving:2.19.1"  # add @sha256:... to pin it
    replicas: int = Field(1, ge=0)
    cpu: _Positive = 2  # cores
    memory: _Positive = 4  # GB


class Toleration(Section):
    """A taint of nodes that tasks bear, in Kubernetes' own words."""

    key: str = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class Kubeflow(Section):
    """The tasks' image, storage and resources on a cluster."""

    image: str = ""  # REPOSITORY@sha256:DIGEST of the image that kubeflow/Dockerfile builds
    allow_unpinned_image: bool = False  # a tag may be moved: for trials only
    # Folder for inputs, artifacts and pushed models: s3://, minio://, gs://.
    storage: str = ""
    caching: bool = True
    resources: Resources = Resources()  # of each task that `tasks` does not name
    # Of single tasks, by their names.
    tasks: dict[str, Resources] = {Step.TRAINER.value: Resources(cpu=4, memory=16)}
    environment: dict[str, str] = {}  # of every task, such as AWS_ENDPOINT_URL
    # Kubernetes secrets of every task: secret -> its key -> environment variable.
    secrets: dict[str, dict[str, str]] = {}
    volumes: dict[str, str] = {}  # of every task: persistent volume claim -> folder it appears at
    node_selector: dict[str, str] = {}  # labels of the nodes that tasks may run on
    tolerations: tuple[Toleration, ...] = ()  # of every task
    pull_secrets: tuple[str, ...] = ()  # secrets of the image's registry
    # Pods say that they run as another user than root: restricted namespaces ask for that.
    run_as_non_root: bool = True
    retries: int = Field(0, ge=0, le=20)  # of a task that failed, where the backend has them
    timeout: int | None = Field(None, ge=60)  # seconds that a task may take
    # Where checkpoints lie; in a volume, a training whose pod was killed goes on.
    work: str = "/tmp/inception-finetune/work"  # noqa: S108 - of a pod, which has it alone
    serving: Serving = Serving()
