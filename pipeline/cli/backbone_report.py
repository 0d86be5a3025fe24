"""What `backbone check` shows of a module."""

from rich.console import Console
from rich.table import Table

from inception_finetune.components.backbone import cut
from inception_finetune.components.backbone.load import load_backbone
from inception_finetune.components.shown_text import plain
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.inputs import resolve_backbone


def print_report(config: Config, console: Console) -> None:
    """Loads and checks the configured module; prints the facts, then every variable.

    Raises:
      UserError: the module is missing, unsafe, or not the network that it should be.
    """
    loaded = load_backbone(
        resolve_backbone(config), network=config.backbone.network, image_size=config.image.size
    )
    facts = Table(show_header=False)
    for name, value in cut.describe(loaded, config.backbone.trainable_from):
        facts.add_row(name, plain(value))
    console.print(facts)
    trunk, upper = cut.split(loaded.backbone, loaded.network, config.backbone.trainable_from)
    report = cut.render_report(cut.variable_report(loaded.backbone, trunk, upper))
    console.print(report, highlight=False, markup=False, soft_wrap=True, end="")
