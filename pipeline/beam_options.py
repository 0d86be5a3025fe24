"""The section `beam` of the configuration, and its translation into Beam's flags for each step.

Imports neither Beam nor TFX.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from inception_finetune.components.beam.sdk_worker import COMMAND
from inception_finetune.components.settings import Section
from inception_finetune.components.steps import Step

Engine = Literal["direct", "flink", "spark", "dataflow"]
# Imported by each worker process, wherever it runs, before it runs a step.
WORKER_SETUP = "inception_finetune.components.beam.worker_setup"
PROCESS_RUNNER = "inception_finetune.components.beam.process_runner.ProcessRunner"
# By TFX id: the steps that run the network, so that an accelerator is worth its price.
NETWORK_STEPS = (Step.TRUNK_FEATURES, Step.TEST_PREDICTIONS)

# A worker that a stage has done with waits this long for the next one. Without, each stage starts
# its own, and one that is just ending may be handed work, which then fails.
_WORKER_WAITS = 10_000  # milliseconds
_PORTABLE = ("job_endpoint", "job_server_jar", "environment", "sdk_image", "worker_pool")
# Which settings an engine takes besides `runner` and `arguments`.
SETTINGS: dict[Engine, tuple[str, ...]] = {
    "direct": ("running_mode", "parallelism"),
    "flink": ("master", "parallelism", *_PORTABLE),
    "spark": ("master", *_PORTABLE),
    "dataflow": (
        "project",
        "region",
        "temp_location",
        "sdk_image",
        "parallelism",
        "machine_type",
        "accelerator_machine_type",
        "accelerator",
    ),
}


class Beam(Section):
    """What runs the steps' Beam pipelines; `Config.runner`, which is TFX's, runs the DAG."""

    # "direct" is this process, in memory; the others are clusters.
    runner: Engine = "direct"
    # Direct: in_memory is the fastest from 1,000 images to 60,000 (docs/scaling.md): TensorFlow
    # takes all cores as it is, and each step that has processes waits 7 s for their imports.
    running_mode: Literal["in_memory", "multi_threading", "multi_processing"] = "in_memory"
    # How many workers a step may have at a time: Flink's slots, Dataflow's machines, or the
    # direct runner's threads or processes. None leaves it to the engine.
    parallelism: Annotated[int, Field(ge=1)] | None = None
    master: str | None = None  # host:port of Flink's REST address, or Spark's spark://host:port
    # A Beam job server that is running (host:port), or its jar, which is then started here.
    # Beam would download a jar otherwise, so one of them must be given.
    job_endpoint: str | None = Field(None, pattern=r"^[^\s/]+:\d+$")
    job_server_jar: str | None = None
    # Where Python runs: LOOPBACK in this process; PROCESS as children of the engine's workers, on
    # machines with this project; EXTERNAL in pools that run there; DOCKER in containers.
    environment: Literal["LOOPBACK", "PROCESS", "EXTERNAL", "DOCKER"] = "LOOPBACK"
    worker_pool: str | None = Field(None, pattern=r"^[^\s/]+:\d+$")  # EXTERNAL: its address
    sdk_image: str | None = None  # DOCKER and Dataflow: image with this project and Beam's SDK
    project: str | None = None  # Dataflow: the Google Cloud project that pays
    region: str | None = None
    temp_location: str | None = Field(None, pattern="^gs://")  # Dataflow: for its own files
    machine_type: str | None = None
    # Dataflow, for the steps that run the network: a machine type that takes an accelerator, and
    # the accelerator, such as type:nvidia-tesla-t4;count:1;install-nvidia-driver
    accelerator_machine_type: str | None = None
    accelerator: str | None = Field(None, pattern=r"^type:[^;\s]+;count:\d+")
    arguments: tuple[str, ...] = ()  # further flags of Beam, as they are: --name=value

    @field_validator("arguments")
    @classmethod
    def _are_flags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [flag for flag in value if not flag.startswith("--")]:
            raise ValueError(f"must be flags such as --name=value, not {', '.join(wrong)}")
        return value

    @model_validator(mode="after")
    def _belongs_to_the_engine(self) -> "Beam":
        allowed = {"runner", "arguments", *SETTINGS[self.runner]}
        defaults = type(self).model_fields
        given = [
            key
            for key in self.model_fields_set - allowed
            if getattr(self, key) != defaults[key].default
        ]
        if given:
            raise ValueError(
                f"beam.runner={self.runner} takes {', '.join(SETTINGS[self.runner])}; "
                f"it does not take {', '.join(sorted(given))}"
            )
        return self

    @model_validator(mode="after")
    def _has_what_the_engine_needs(self) -> "Beam":
        if self.runner == "direct":
            if self.running_mode == "in_memory" and (self.parallelism or 1) > 1:
                raise ValueError(
                    "beam.parallelism above 1 needs beam.running_mode=multi_processing or "
                    f"multi_threading, here it is {self.parallelism} with in_memory"
                )
        elif self.runner == "dataflow":
            self._require("project", "region", "temp_location", "sdk_image")
        elif self.runner in ("flink", "spark"):
            if (self.job_endpoint is None) == (self.job_server_jar is None):
                raise ValueError(
                    f"beam.runner={self.runner} needs beam.job_endpoint=HOST:PORT of a running "
                    "Beam job server or beam.job_server_jar=FILE, and not both"
                )
            if self.job_server_jar is not None:
                self._require("master")
            if self.environment == "DOCKER":
                self._require("sdk_image")
            if self.environment == "EXTERNAL":
                self._require("worker_pool")
        return self

    def _require(self, *keys: str) -> None:
        if missing := [f"beam.{key}" for key in keys if getattr(self, key) is None]:
            where = f" with {self.environment}" if self.runner in ("flink", "spark") else ""
            raise ValueError(f"beam.runner={self.runner}{where} needs {', '.join(missing)}")


def pipeline_arguments(beam: Beam) -> list[str]:
    """Beam's flags for every step of the pipeline."""
    flags = {
        "direct": _direct,
        "flink": _flink,
        "spark": _spark,
        "dataflow": _dataflow,
    }[beam.runner](beam)
    return [
        *flags,
        f"--beam_plugins={WORKER_SETUP}",
        # TFX builds a source package of itself for each step, in 1.5 s, unless an image is named
        # that holds TFX already. Only containers look at the name.
        f"--sdk_container_image={beam.sdk_image or 'none'}",
        # Beam asks pip for a list of packages, and the environment has no pip.
        "--experiments=disable_logging_submission_environment",
        *beam.arguments,
    ]


def step_arguments(beam: Beam, step: str) -> list[str]:
    """Beam's flags for one step alone, by its TFX id; they win over the pipeline's."""
    flags = []
    if step in NETWORK_STEPS:
        if beam.accelerator_machine_type:
            flags.append(f"--machine_type={beam.accelerator_machine_type}")
        if beam.accelerator:
            flags.append(f"--dataflow_service_options=worker_accelerator={beam.accelerator}")
    return flags


def _direct(beam: Beam) -> list[str]:
    # FnApiRunner runs in memory; "DirectRunner" would first try to download a Go runner.
    processes = beam.running_mode == "multi_processing"
    runner = PROCESS_RUNNER if processes else "FnApiRunner"
    flags = [f"--runner={runner}", f"--direct_running_mode={beam.running_mode}"]
    return [*flags, f"--direct_num_workers={beam.parallelism or 1}"]


def _flink(beam: Beam) -> list[str]:
    flags = ["--runner=FlinkRunner", *_portable(beam, "flink_job_server_jar")]
    if beam.master:
        flags.append(f"--flink_master={beam.master}")
    if beam.parallelism:
        flags.append(f"--parallelism={beam.parallelism}")
    return flags


def _spark(beam: Beam) -> list[str]:
    flags = ["--runner=SparkRunner", *_portable(beam, "spark_job_server_jar")]
    return [*flags, f"--spark_master_url={beam.master}"] if beam.master else flags


def _portable(beam: Beam, jar_flag: str) -> list[str]:
    flags = [
        f"--environment_type={beam.environment}",
        f"--environment_cache_millis={_WORKER_WAITS}",
    ]
    if beam.job_endpoint:
        flags.append(f"--job_endpoint={beam.job_endpoint}")
    else:
        flags.append(f"--{jar_flag}={beam.job_server_jar}")
    if beam.environment == "PROCESS":
        flags.append(f"--environment_config={json.dumps({'command': _worker_command()})}")
    elif beam.environment == "EXTERNAL":
        flags.append(f"--environment_config={beam.worker_pool}")
    elif beam.environment == "DOCKER":
        flags.append(f"--environment_config={beam.sdk_image}")
    return flags


def _worker_command() -> str:
    """The worker's path here; the engine's machines have the project at the same place."""
    beside = Path(sys.executable).with_name(COMMAND)
    return str(beside) if beside.exists() else shutil.which(COMMAND) or COMMAND


def _dataflow(beam: Beam) -> list[str]:
    flags = [
        "--runner=DataflowRunner",
        f"--project={beam.project}",
        f"--region={beam.region}",
        f"--temp_location={beam.temp_location}",
    ]
    if beam.parallelism:
        flags.append(f"--max_num_workers={beam.parallelism}")
    if beam.machine_type:
        flags.append(f"--machine_type={beam.machine_type}")
    return flags
