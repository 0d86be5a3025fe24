"""What commands that run the pipeline print of a run, and how they exit."""

from typing import TYPE_CHECKING

import typer
from rich.console import Console

from inception_finetune.components.errors import ExitStatus
from inception_finetune.pipeline.cli.options import print_failure

if TYPE_CHECKING:
    from inception_finetune.pipeline.config import Config
    from inception_finetune.pipeline.history.outcome import Outcome


def report_outcome(result: "Outcome", settings: "Config") -> None:
    """Prints what a run did; a refused model is an exit status of its own."""
    from inception_finetune.pipeline.history import outcome

    outcome.print_outcome(result, settings, Console())
    if not result.blessed:
        print_failure("not blessed, not pushed:", "; ".join(result.refusals))
    if result.server_refusal:
        print_failure("not pushed, refused by the server check:", result.server_refusal)
    if not result.blessed or result.server_refusal:
        raise typer.Exit(ExitStatus.REFUSED)
    if result.withdrawn:
        print_failure("not pushed:", "this model was withdrawn by `rollback`. Train another one.")
        raise typer.Exit(ExitStatus.REFUSED)
