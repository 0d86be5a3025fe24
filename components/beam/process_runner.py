"""Beam's in-memory runner with worker processes that are told the pipeline's options."""

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineResult


class ProcessRunner(FnApiRunner):
    """FnApiRunner starts its worker processes without any options, and so without their plugins.

    As a runner is named by a flag alone, it learns of the options only here.
    """

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        options_proto = JobServiceHandle.encode_pipeline_options(
            options.get_all_options(drop_default=True)
        )
        self._provision_info = ExtendedProvisionInfo(
            beam_provision_api_pb2.ProvisionInfo(pipeline_options=options_proto)
        )
        return super().run_pipeline(pipeline, options)
