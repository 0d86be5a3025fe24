"""Real CIFAR-10 images through the whole pipeline, from a network that has seen pictures."""

import pytest

from helpers.paths import SHARED
from inception_finetune.components.backbone.standin import make_standin
from inception_finetune.pipeline.config import load_config

WEIGHTS = SHARED / "data" / "inception_v3_cifar100_75px.npz"

pytestmark = [pytest.mark.e2e, pytest.mark.real_data]


@pytest.mark.skipif(not WEIGHTS.exists(), reason="needs weights of a network trained on pictures")
def test_one_epoch_learns_far_more_than_chance_and_the_gate_still_refuses(cifar_archive, tmp_path):
    from inception_finetune.pipeline import local

    make_standin(tmp_path / "backbone", seed=0, weights=WEIGHTS)
    outcome = local.run(
        load_config(
            "cifar10",
            [
                f"root={tmp_path / 'root'}",
                f"cache={tmp_path / 'cache'}",
                f"dataset.archive={cifar_archive}",
                f"backbone.handle={tmp_path / 'backbone'}",
                *("image.size=75", "image.views=[identity]"),
                "backbone.trainable_from=Mixed_7a",
                "training.epochs=1",
            ],
        )
    )
    assert 0.42 < outcome.metrics["accuracy"] < 0.7985  # chance is 0.1
    assert not outcome.blessed and outcome.pushed is None
    assert outcome.refusals[0].startswith("overall accuracy must be at least 0.7985")
