"""Beam's in-memory runner, whose worker processes also receive the pipeline's options."""

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineResult


class ProcessRunner(FnApiRunner):
    """Passes the pipeline's options to the worker processes.

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
