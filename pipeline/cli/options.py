"""What several commands share: options, loading the configuration, loading TensorFlow quietly."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from inception_finetune.components.shown_text import visible

if TYPE_CHECKING:
    from inception_finetune.pipeline.config import Config


ConfigOption = Annotated[
    str,
    typer.Option(
        "--config", "-c", help="A preset (digits, cifar10, article, scratch_cnn) or a YAML file."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as training.epochs=3."),
]
_OVERRIDE = re.compile(r"[a-z0-9_.]+=")
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show the libraries' own messages as well.")
]


def load(config: str, overrides: list[str] | None) -> "Config":
    """The configuration of a command; see `load_config`. Its places are folders, or can be made."""
    from inception_finetune.pipeline.config import load_config
    from inception_finetune.pipeline.places import require_folders

    loaded = load_config(config, overrides or ())
    require_folders(loaded)
    return loaded


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments that are something else, and KEY=VALUE overrides; ./a=b is a path."""
    overrides = [one for one in arguments if _OVERRIDE.match(one)]
    return [one for one in arguments if one not in overrides], overrides


def load_tensorflow(verbose: bool) -> None:
    """Loads TensorFlow, quietly."""
    from inception_finetune.components.native_output import quiet_native_output
    from inception_finetune.pipeline.quiet import set_up_environment

    set_up_environment(verbose)
    with quiet_native_output(verbose):
        import tensorflow  # noqa: F401


def print_failure(head: str, text: str) -> None:
    """Prints what went wrong, as one line on stderr.

    Args:
      head: the kind of failure.
      text: of any origin.
    """
    line = Text.assemble((head, "bold red"), " ", visible(text))
    Console(stderr=True, soft_wrap=True, highlight=False).print(line)
