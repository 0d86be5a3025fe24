"""``inception-finetune watch``: looks at new spans, and runs the pipeline where that is due."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.address import without_secrets
from inception_finetune.components.shown_text import visible
from inception_finetune.pipeline.cli.options import (
    ConfigOption,
    Overrides,
    Verbose,
    load,
    load_tensorflow,
    print_failure,
)
from inception_finetune.pipeline.cli.outcome import report_outcome
from inception_finetune.pipeline.failure import user_error

if TYPE_CHECKING:
    from inception_finetune.pipeline.config import Config

app = typer.Typer()
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST: Final = 366 * 86_400  # seconds between two passes


@app.command()
def watch(
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    once: Annotated[bool, typer.Option("--once", help="One pass, as for cron.")] = False,
    every: Annotated[
        str, typer.Option(help="From one pass to the next, such as 90s, 30m, 1h, 1d.")
    ] = "1h",
    verbose: Verbose = False,
):
    """Look at each new span, and run the pipeline where that is due. Statuses are those of run."""
    seconds = parse_interval(every)
    settings = load(config, overrides)
    if not settings.dataset.spans:
        raise UserError(
            f"dataset.archive={settings.dataset.archive} is one data set, and `watch` looks at "
            "what comes in. Give dataset.spans."
        )
    from inception_finetune.pipeline.locks import watch_lock
    from inception_finetune.pipeline.places import require_no_pattern
    from inception_finetune.pipeline.watch.loop import watch_for_ever

    require_no_pattern(Path(settings.root))
    with watch_lock(Path(settings.root)):
        if once:
            make_pass(settings, verbose)
        else:
            watch_for_ever(settings, seconds, _tell_failures, verbose=verbose)


def make_pass(settings: "Config", verbose: bool) -> None:
    """Makes one pass, and prints what it has done."""
    load_tensorflow(verbose)
    from inception_finetune.pipeline.watch.watch import watch_once

    done = watch_once(settings, say, verbose=verbose)
    if done.outcome:
        report_outcome(done.outcome, settings)


def _tell_failures(settings: "Config", verbose: bool) -> None:
    """Makes a pass of many: what goes wrong is said, and the next one comes all the same."""
    try:
        make_pass(settings, verbose)
    except typer.Exit:
        return
    except Exception as error:
        known = user_error(error)
        if known is None:
            raise
        print_failure("error:", without_secrets(str(known)))


def parse_interval(text: str) -> float:
    """Returns seconds.

    Args:
      text: a number and s, m, h or d.

    Raises:
      UserError: it is none, 0 or more than a year.
    """
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    seconds = float(matched[1]) * _SECONDS[matched[2]] if matched else 0.0
    if not 0 < seconds <= _LONGEST:
        raise UserError(
            f"Interval {text!r} of --every is none. Give one such as 90s, 30m, 1h or 1d, of a year "
            "at most."
        )
    return seconds


def say(line: str) -> None:
    """Prints a line at once: the output may go to a file."""
    print(visible(line), flush=True)
