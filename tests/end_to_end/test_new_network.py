"""A network that a user adds: its table and one line of the registry, and the pipeline runs it."""

import pytest

from helpers.toy_network import TOY
from inception_finetune.components.backbone.networks import NETWORKS


@pytest.mark.e2e
def test_the_whole_pipeline_runs_with_it(monkeypatch, tmp_path):
    from inception_finetune.pipeline import local
    from inception_finetune.pipeline.config import load_config

    monkeypatch.setitem(NETWORKS, TOY.name, TOY)
    outcome = local.run(
        load_config(
            "digits",
            [
                *(f"root={tmp_path}/root", f"cache={tmp_path}/cache"),
                *("backbone.network=toy", "backbone.handle=standin", "image.size=16"),
                *("backbone.trainable_from=Mixed_2", "feature_cache=true", "training.epochs=6"),
                *("training.learning_rate=0.01", "training.dropout=0", "gate.min_accuracy=0.8"),
            ],
        )
    )
    assert outcome.blessed and outcome.metrics["accuracy"] >= 0.8
    extra = outcome.pushed / "assets.extra"
    lines = (extra / "variables.txt").read_text().splitlines()
    assert lines[0] == "Toy/Conv2d_1/weights 3, 3, 3, 16 frozen"
    assert "Toy/Residual_3/Conv2d_a/depthwise_weights 3, 3, 32, 2 trained" in lines
    assert "Toy/Residual_3/Up/biases 32 trained" in lines
    card = next((tmp_path / "root/artifacts").rglob("model_card.json")).read_text()
    assert "ToyNet" in card and "example.org/toy" in card
