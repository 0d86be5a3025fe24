"""Runs the DAG on this machine."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from components.errors import UserError
from pipeline.config import Config
from pipeline.inputs import Inputs, prepare_inputs
from pipeline.outcome import Outcome, read_outcome
from pipeline.pipeline import create_pipeline
from pipeline.quiet import node_announcements

# Beam re-raises a worker's exception as a RuntimeError that only quotes the original.
QUOTED_USER_ERROR = re.compile(r"components\.errors\.UserError: (.+?)(?: \[while running|\n|$)")


def run(config: Config, *, verbose: bool = False) -> Outcome:
    """Prepares the inputs, runs every step that is not cached, and reads the result back.

    Raises:
      UserError: for each foreseeable failure of a step, in one line.
    """
    return run_pipeline(config, prepare_inputs(config), verbose=verbose)


def run_pipeline(config: Config, inputs: Inputs, *, verbose: bool = False) -> Outcome:
    """Runs the DAG on prepared inputs."""
    pipeline = create_pipeline(config, inputs)
    console = Console(stderr=True, highlight=False)
    with node_announcements(lambda node: console.print(f"[dim]{node}[/]"), verbose):
        try:
            with in_memory_beam():
                _runner(config).run(pipeline)
        except UserError:
            raise
        except Exception as error:
            mended = _user_error(error)
            if mended is None:
                raise
            raise mended from error
    return read_outcome(config)


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


def _user_error(error: BaseException | None) -> UserError | None:
    """The UserError behind what a runner raised, if there is one."""
    while error is not None:
        if isinstance(error, UserError):
            return error
        quoted = QUOTED_USER_ERROR.search(str(error))
        if quoted:
            return UserError(quoted.group(1))
        error = error.__cause__ or error.__context__
    return None
