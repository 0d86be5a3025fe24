"""A network that a user adds: its table and one line of the registry, and the pipeline runs it."""

import pytest

from inception_finetune.components.backbone.blocks import Block, Convolution, Pooling, Residual
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone.networks import NETWORKS

_HALVED = Pooling("MAX", 2, stride=2)

TOY = Backbone(
    name="toy",
    title="ToyNet",
    scope="Toy/",
    blocks=(
        Block("stem", ((Convolution("Conv2d_1", (3, 3), 16), _HALVED),), scope=""),
        Block(
            "Mixed_2",
            (
                (Convolution("Conv2d_a", (1, 1), 16),),
                (Convolution("Conv2d_a", (1, 1), 8), Convolution("Conv2d_b", (3, 3), 16)),
            ),
            scope="Mixed_2/",
            then=(_HALVED,),
        ),
        Block(
            "Residual_3",
            ((Convolution("Conv2d_a", (3, 3), 24, depth_multiplier=2),),),
            scope="Residual_3/",
            residual=Residual(Convolution("Up", (1, 1), 32, has_bias=True, relu=False), 0.5),
        ),
    ),
    native_size=32,
    smallest_size=8,
    reference="Nobody, A Network for a Test, 2026",
    address="https://example.org/toy",
)


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
