"""Runs the DAG on this machine."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ml_metadata.errors import StatusError
from rich.console import Console
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from inception_finetune.components.evaluation.metrics import ACCURACY
from inception_finetune.components.infra_validator.server import require_program
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.failure import as_user_error
from inception_finetune.pipeline.heartbeat import heartbeat
from inception_finetune.pipeline.history.lost_files import (
    invalidate_artifacts_with_missing_files,
    record_artifact_files,
)
from inception_finetune.pipeline.history.outcome import Outcome, read_outcome
from inception_finetune.pipeline.history.runs import record
from inception_finetune.pipeline.history.server_refusals import forget_refusals
from inception_finetune.pipeline.inputs import Inputs, prepare_inputs
from inception_finetune.pipeline.locks import pipeline_lock
from inception_finetune.pipeline.pipeline import create_pipeline, execution
from inception_finetune.pipeline.places import require_folders, require_no_pattern
from inception_finetune.pipeline.quiet import node_announcements
from inception_finetune.pipeline.warm_start import require_fitting_start
from inception_finetune.trainer.devices import check_batch_size
from inception_finetune.trainer.execution import in_environment


def run(config: Config, *, verbose: bool = False) -> Outcome:
    """Prepares the inputs, runs every step that is not cached, and reads the result back.

    Raises:
      UserError: for each foreseeable failure of a step, in one line.
    """
    import tensorflow as tf

    devices = len(tf.config.list_physical_devices("GPU"))
    require_folders(config)
    require_no_pattern(Path(config.root))
    with as_user_error(), pipeline_lock(Path(config.root)):
        check_batch_size(config.training.batch_size, max(1, devices))  # the Trainer's comes late
        require_program(config.infra)  # so does InfraValidator's
        return run_pipeline(config, prepare_inputs(config), verbose=verbose)


def run_pipeline(config: Config, inputs: Inputs, *, verbose: bool = False) -> Outcome:
    """Runs the DAG on prepared inputs."""
    pipeline = create_pipeline(config, inputs)
    console = Console(stderr=True, highlight=False)

    def announce(node: str) -> None:
        # What this run has made so far, while it is whole. RuntimeError: the metadata are locked.
        with suppress(StatusError, OSError, RuntimeError):
            record_artifact_files(config)
        say(node)
        begin(node)

    def say(line: str) -> None:
        console.print(line, style="dim")

    announced = node_announcements(announce, verbose)
    started = datetime.now(UTC)
    carried_out = in_environment(execution(config))
    with as_user_error(), heartbeat(say) as begin, announced, in_memory_beam(), carried_out:
        _report_lost(invalidate_artifacts_with_missing_files(config))
        require_fitting_start(config, inputs)  # of the models that are whole
        forget_refusals(config)
        try:
            _runner(config).run(pipeline)
        except BaseException:
            with suppress(StatusError, OSError):  # the failure itself must be heard of
                record(config, since=started)
            raise
        record_artifact_files(config)
    outcome = read_outcome(config)
    record(config, since=started, accuracy=outcome.metrics[ACCURACY.name])
    return outcome


def _report_lost(files: list[str]) -> None:
    if files:
        print(
            "results of earlier runs that have lost files, to be made again where they are needed: "
            f"{len(files)}, for want of {', '.join(files[:3])}{', …' if len(files) > 3 else ''}",
            file=sys.stderr,
            flush=True,
        )


@contextmanager
def in_memory_beam() -> Iterator[None]:
    """Beam pipelines without a runner run in memory: DirectRunner would download a Go runner.

    BeamDagRunner makes such a pipeline and takes no options for it, but with its old code, which
    cannot run function components.
    """
    from apache_beam.options.pipeline_options import StandardOptions

    previous = StandardOptions.DEFAULT_RUNNER
    StandardOptions.DEFAULT_RUNNER = "FnApiRunner"
    try:
        yield
    finally:
        StandardOptions.DEFAULT_RUNNER = previous


def _runner(config: Config):
    if config.runner == "beam":
        from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner

        return BeamDagRunner()
    return LocalDagRunner()
