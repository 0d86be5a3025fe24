"""The table gives TF-Slim's names and shapes, and needs no TensorFlow."""

import subprocess
import sys

import pytest

from helpers.paths import SHARED
from inception_finetune.components.backbone import network
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3

FACTS = SHARED / "facts" / "inception_v3_variables.txt"


def test_counts_and_total():
    assert len(INCEPTION_V3.convolutions) == 94
    assert len(INCEPTION_V3.variables(299)) == 376
    parameters = 0
    for _, shape in INCEPTION_V3.variables(299):
        size = 1
        for length in shape:
            size *= length
        parameters += size
    assert parameters == 21_802_784  # Keras' InceptionV3 without its top


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("InceptionV3/Conv2d_1a_3x3/weights", (3, 3, 3, 32)),
        ("InceptionV3/Mixed_5c/Branch_1/Conv_1_0c_5x5/weights", (5, 5, 48, 64)),
        ("InceptionV3/Mixed_6a/Branch_1/Conv2d_1a_1x1/weights", (3, 3, 96, 96)),
        ("InceptionV3/Mixed_6b/Branch_2/Conv2d_0e_1x7/weights", (1, 7, 128, 192)),
        ("InceptionV3/Mixed_7b/Branch_1/Conv2d_0b_3x1/weights", (3, 1, 384, 384)),
        ("InceptionV3/Mixed_7c/Branch_1/Conv2d_0c_3x1/weights", (3, 1, 384, 384)),
        ("InceptionV3/Mixed_7c/Branch_3/Conv2d_0b_1x1/BatchNorm/moving_variance", (192,)),
    ],
)
def test_known_shapes(name, shape):
    assert dict(INCEPTION_V3.variables(299))[name] == shape


@pytest.mark.real_data
def test_names_shapes_and_order_are_those_of_tf_slim():
    if not FACTS.exists():
        pytest.skip("no list of TF-Slim's variables beside the repository")
    lines = [line for line in FACTS.read_text().splitlines() if "Logits/" not in line]
    ours = [f"{name} {', '.join(map(str, shape))}" for name, shape in INCEPTION_V3.variables(299)]
    assert ours == lines


def test_mismatch_names_the_first_few_of_each_kind():
    expected = {"a": (1,), "b": (2,), "c": (3,), "d": (4,), "e": (5, 6)}
    found = {"e": (6, 5), "z": (7,)}
    assert network.mismatch(found, expected) == (
        "4 missing: a [1], b [2], c [3], …; 1 surplus: z [7]; "
        "1 misshapen: e [6, 5] instead of [5, 6]"
    )
    assert network.mismatch(expected, expected) == ""


def test_import_needs_no_tensorflow():
    code = (
        "import sys; from inception_finetune.components.backbone import "
        "cut, load, module, network, standin; "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'tf_keras', 'requests')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
