"""The README stays short, and its example is one that the program takes."""

import re

from helpers.paths import REPOSITORY
from inception_finetune.pipeline.config import load_config, preset_names

TEXT = (REPOSITORY / "README.md").read_text("utf-8")


def test_it_is_at_most_120_lines():
    assert len(TEXT.splitlines()) <= 120


def test_its_configuration_is_accepted(tmp_path):
    [example] = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    file = tmp_path / "flowers.yaml"
    file.write_text(example, "utf-8")
    config = load_config(str(file))
    assert config.name == "flowers"
    assert not config.report.references  # of CIFAR-10, which are none of these pictures'


def test_its_table_has_every_preset():
    section = TEXT.partition("## Presets")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", section, re.M)) == preset_names()
