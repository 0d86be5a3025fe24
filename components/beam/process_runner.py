"""Beam's in-memory runner, whose worker processes know the options and end with it."""

import os
import shlex
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_provision_api_pb2, beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineResult

_WORKER = "inception_finetune.components.beam.process_worker"  # a module to be run


class ProcessRunner(FnApiRunner):
    """Passes the pipeline's options to the worker processes, which end when this process does.

    FnApiRunner starts its worker processes without options, and so without their plugins. A runner
    is named by a flag alone, so this one learns of the options only when the pipeline runs.
    """

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        """Runs the pipeline with workers that know `options`."""
        options_proto = JobServiceHandle.encode_pipeline_options(
            options.get_all_options(drop_default=True)
        )
        self._provision_info = ExtendedProvisionInfo(
            beam_provision_api_pb2.ProvisionInfo(pipeline_options=options_proto)
        )
        return super().run_pipeline(pipeline, options)

    def run_via_runner_api(
        self, pipeline_proto: beam_runner_api_pb2.Pipeline, options: PipelineOptions
    ) -> PipelineResult:
        """Runs the pipeline with workers that end with this process."""
        # exec, so that the shell that Beam starts becomes the worker, and Beam can end it.
        command = f"exec {shlex.join([sys.executable, '-m', _WORKER, str(os.getpid())])}"
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.payload = command.encode()
        return super().run_via_runner_api(pipeline_proto, options)
