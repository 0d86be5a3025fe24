"""What a trunk that is folded and run in bfloat16 changes in the answers of the served network.

The classifier is trained on such features where the processor multiplies bfloat16, and is served
with the trunk in float32: how far may its answers be from those that training saw?
"""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.paths import SHARED
from inception_finetune.components.backbone import cut
from inception_finetune.components.backbone.load import load_backbone
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.backbone.standin import make_standin
from inception_finetune.components.dataset.archive import read_archive
from inception_finetune.components.trunk_features.trunk import fold_trunk

WEIGHTS = SHARED / "data" / "inception_v3_imagenet_8bit.npz"


class Change(NamedTuple):
    """Of the probabilities of one image's classes, over all images; and of the labels."""

    largest: float
    mean: float
    labels: float  # share of the images with another one


def measure(network, block: str, images: np.ndarray, head) -> Change:
    """`head` maps vectors [N, 2048] to probabilities; images are [N, S, S, 3] in [-1, 1]."""
    trunk, upper = cut.split(INCEPTION_V3, network, block)
    folded = fold_trunk(INCEPTION_V3, network, block, tf.bfloat16)
    served, trained = [], []
    for start in range(0, len(images), 50):
        chunk = tf.constant(images[start : start + 50])
        served.append(head(upper(trunk(chunk, training=False), training=False).numpy()))
        features = tf.cast(folded(chunk), tf.float32)
        trained.append(head(upper(features, training=False).numpy()))
    one, other = np.concatenate(served), np.concatenate(trained)
    change = np.abs(one - other)
    labels = (one.argmax(axis=1) != other.argmax(axis=1)).mean()
    return Change(float(change.max()), float(change.mean()), float(labels))


def classifier(vectors: np.ndarray, labels: np.ndarray):
    """A linear one, on the network's own vectors."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-2, max_iter=500))
    return model.fit(vectors, labels).predict_proba


def resized(images: np.ndarray) -> np.ndarray:
    return tf.image.resize(images.astype(np.float32) / 127.5 - 1, [75, 75]).numpy()


def test_in_a_network_that_was_made_answers_stay_close(standin):
    network = load_backbone(standin, image_size=75).network
    data = load_digits()
    images = resized(np.repeat(data.images[:100, :, :, None] * 15.9, 3, axis=-1))
    vectors = network(images, training=False).numpy()
    head = classifier(vectors, data.target[:100])
    change = measure(network, "Mixed_7a", images, head)
    assert 0 < change.mean < 0.02 and change.largest < 0.3 and change.labels <= 0.1


@pytest.mark.real_data
@pytest.mark.skipif(not WEIGHTS.exists(), reason="needs ImageNet weights beside the checkout")
@pytest.mark.parametrize("block", ["Mixed_7a", "Mixed_6d"])
def test_with_imagenet_weights_answers_to_real_pictures_stay_close(cifar_archive, block, tmp_path):
    """Measured on 1,000 pictures: 0.27 and 0.21 at most, 0.004 on average, 3.5 % of the labels."""
    make_standin(tmp_path / "backbone", seed=0, weights=WEIGHTS)
    network = load_backbone(tmp_path / "backbone", image_size=75).network
    batches = {batch.split: batch for batch in read_archive(cifar_archive).batches}
    train, test = batches["train"], batches["test"]
    images = resized(train.images[:300])
    vectors = np.concatenate([network(images[i : i + 50]).numpy() for i in range(0, 300, 50)])
    head = classifier(vectors, train.labels[:300])
    change = measure(network, block, resized(test.images[:200]), head)
    assert 0 < change.mean < 0.01 and change.largest < 0.5 and change.labels < 0.08
