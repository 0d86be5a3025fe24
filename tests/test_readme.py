"""The README stays short, and its commands are ones that the program takes."""

import re
import shlex

import pytest
import typer

from helpers.paths import REPOSITORY
from inception_finetune.pipeline.cli.main import app
from inception_finetune.pipeline.config import preset_names

TEXT = (REPOSITORY / "README.md").read_text("utf-8")


def test_it_is_at_most_120_lines():
    assert len(TEXT.splitlines()) <= 120


COMMANDS = re.findall(r"^\$ inception-finetune (.+?)(?: +#.*)?$", TEXT, re.M)


def test_it_shows_the_way_from_pictures_to_answers():
    assert [command.split()[0] for command in COMMANDS] == [
        *("init", "data", "run", "review", "predict", "serve", "check-data"),
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_the_programs(command):
    parser = typer.main.get_command(app)
    words = shlex.split(command)
    while hasattr(parser, "commands"):
        parser = parser.commands[words.pop(0)]
    parser.make_context("inception-finetune", words)  # refuses options that it does not know


def test_its_table_has_every_preset():
    section = TEXT.partition("## Presets")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", section, re.M)) == preset_names()
