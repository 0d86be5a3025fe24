"""Every network through the whole DAG on the digits: blessed and pushed, random trunk or not."""

import pytest

from inception_finetune.components.backbone.networks import NETWORKS

# The first block that is trained: the last ones are enough to tell digits apart.
TRAINED = {
    "inception_v1": "Mixed_5b",
    "inception_v2": "Mixed_5b",
    "inception_v3": "Mixed_7b",
    "inception_v4": "Mixed_7c",
    "inception_resnet_v2": "Block8_8",
    "scratch_cnn": "Dense_3",
}


@pytest.mark.networks
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_blessed_on_the_digits(name, tmp_path):
    from inception_finetune.pipeline import local
    from inception_finetune.pipeline.config import load_config

    outcome = local.run(
        load_config(
            "digits",
            [
                *(f"root={tmp_path}/root", f"cache={tmp_path}/cache", f"backbone.network={name}"),
                f"image.size={max(NETWORKS[name].smallest_size, 32)}",
                *(f"backbone.trainable_from={TRAINED[name]}", "feature_cache=true"),
                *("training.epochs=6", "gate.min_accuracy=0.9"),
            ],
        )
    )
    print(name, outcome.metrics["accuracy"])
    assert outcome.blessed and outcome.metrics["accuracy"] >= 0.9
    lines = (outcome.pushed / "assets.extra/variables.txt").read_text().splitlines()
    states = {line.rsplit(" ", 1)[1] for line in lines if not line.startswith("#")}
    assert states == {"frozen", "trained"}
    scopes = {line.split("/")[0] for line in lines if not line.startswith("#")}
    assert scopes == {NETWORKS[name].scope.removesuffix("/"), "head"}
