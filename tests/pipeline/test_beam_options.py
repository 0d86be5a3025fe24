import json
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.testing.util import assert_that, equal_to

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.beam_options import (
    WORKER_SETUP,
    Beam,
    pipeline_arguments,
    step_arguments,
)
from inception_finetune.pipeline.config import load_config

DATAFLOW = {
    "runner": "dataflow",
    "project": "mine",
    "region": "europe-west1",
    "temp_location": "gs://mine/tmp",
    "sdk_image": "registry/mine:1",
}


def options(beam: Beam, step: str = "StatisticsGen") -> PipelineOptions:
    """As Beam itself reads the flags, in the order in which TFX joins them."""
    return PipelineOptions(pipeline_arguments(beam) + step_arguments(beam, step))


def test_by_default_all_runs_in_memory_and_nothing_is_downloaded():
    read = options(load_config("digits").beam)
    assert read.view_as(StandardOptions).runner == "FnApiRunner"  # DirectRunner would fetch Prism
    direct = read.view_as(DirectOptions)
    assert (direct.direct_running_mode, direct.direct_num_workers) == ("in_memory", 1)


def test_flink_with_processes_starts_this_environments_worker():
    overrides = ["beam.runner=flink", "beam.job_endpoint=jobs:8099", "beam.environment=PROCESS"]
    read = options(load_config("digits", [*overrides, "beam.parallelism=4"]).beam)
    assert read.view_as(StandardOptions).runner == "FlinkRunner"
    assert read.view_as(FlinkRunnerOptions).parallelism == 4
    portable = read.view_as(PortableOptions)
    assert (portable.job_endpoint, portable.environment_type) == ("jobs:8099", "PROCESS")
    command = json.loads(portable.environment_config)["command"]
    assert command == str(Path(sys.executable).with_name("inception-finetune-sdk-worker"))
    assert Path(command).exists()


def test_a_jar_goes_with_the_clusters_address():
    read = options(Beam(runner="flink", job_server_jar="/jars/server.jar", master="flink:8081"))
    flink = read.view_as(FlinkRunnerOptions)
    assert (flink.flink_job_server_jar, flink.flink_master) == ("/jars/server.jar", "flink:8081")


def test_dataflow_gives_an_accelerator_to_the_steps_that_run_the_network():
    accelerator = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
    beam = Beam(
        **DATAFLOW,
        machine_type="n1-standard-1",
        accelerator_machine_type="n1-standard-8",
        accelerator=accelerator,
        parallelism=9,
    )
    for step, machine, services in (
        ("StatisticsGen", "n1-standard-1", None),
        ("TrunkFeatures", "n1-standard-8", [f"worker_accelerator={accelerator}"]),
    ):
        read = options(beam, step)
        cloud, worker = read.view_as(GoogleCloudOptions), read.view_as(WorkerOptions)
        assert (cloud.project, cloud.region) == ("mine", "europe-west1")
        assert cloud.temp_location == "gs://mine/tmp"
        assert (worker.machine_type, worker.max_num_workers) == (machine, 9)
        assert worker.sdk_container_image == "registry/mine:1"
        assert cloud.dataflow_service_options == services


def test_every_worker_is_set_up_as_the_command_is():
    assert options(Beam()).view_as(SetupOptions).beam_plugins == [WORKER_SETUP]
    # TFDV cannot be imported without, and a worker process starts with nothing imported.
    code = f"import {WORKER_SETUP}, os, tensorflow_data_validation; "
    code += "print(os.environ['TF_USE_LEGACY_KERAS'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["beam.runner=flink"], "needs beam.job_endpoint=HOST:PORT"),
        (["beam.runner=spark", "beam.environment=PROCESS"], "beam.job_server_jar=FILE"),
        (["beam.runner=flink", "beam.job_server_jar=a.jar"], "needs beam.master"),
        (["beam.runner=dataflow", "beam.project=p"], "beam.region, beam.temp_location"),
        (["beam.master=localhost:8081"], "runner=direct takes .* does not take master"),
        (["beam.parallelism=4"], "needs beam.running_mode=multi_processing"),
        (["beam.arguments=[streaming]"], "must be flags such as --name=value, not streaming"),
        (["beam.runnr=flink"], "did you mean runner"),
        (
            ["beam.runner=flink", "beam.job_endpoint=a:1", "beam.environment=EXTERNAL"],
            "EXTERNAL needs beam.worker_pool",
        ),
    ],
)
def test_what_an_engine_lacks_is_said_before_anything_starts(overrides, told):
    with pytest.raises(UserError, match=told):
        load_config("digits", overrides)


def test_worker_processes_import_the_plugins_that_they_are_told_of():
    flags = pipeline_arguments(Beam(running_mode="multi_processing", parallelism=2))
    flags = [flag.replace(WORKER_SETUP, "xmlrpc.server") for flag in flags]  # a quick one
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        found = pipeline | beam.Create([0]) | beam.Map(lambda _: "xmlrpc.server" in sys.modules)
        assert_that(found, equal_to([True]))
