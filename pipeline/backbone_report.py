"""What `backbone check` shows of a module."""

from rich.console import Console
from rich.table import Table

from components.backbone import cut
from components.backbone.load import load_backbone
from pipeline.config import Config
from pipeline.inputs import resolve_backbone


def print_report(config: Config, console: Console) -> None:
    """Loads and checks the configured module; prints the facts, then every variable.

    Raises:
      UserError: the module is missing, unsafe, or not the InceptionV3 that it should be.
    """
    backbone = load_backbone(resolve_backbone(config), image_size=config.image.size)
    facts = Table(show_header=False)
    for name, value in cut.describe(backbone, config.backbone.trainable_from):
        facts.add_row(name, value)
    console.print(facts)
    trunk, upper = cut.split(backbone.network, config.backbone.trainable_from)
    report = cut.render_report(cut.variable_report(trunk, upper))
    console.print(report, highlight=False, markup=False, soft_wrap=True, end="")
