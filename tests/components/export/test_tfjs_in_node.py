"""The export is asked by TensorFlow.js itself, in Node.js; `make test-tfjs` installs both."""

import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from helpers.exporting import pictures
from helpers.paths import REPOSITORY
from inception_finetune.components import features
from inception_finetune.components.export.formats import FORMATS
from inception_finetune.components.export.metadata import KEY, ExportMetadata

pytestmark = pytest.mark.tfjs

SCRIPT = Path(__file__).parent / "javascript" / "ask.js"


@pytest.fixture(scope="module")
def model_file(exports, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(exports / FORMATS["tfjs"].file_name) as archive:
        archive.extractall(folder)
    return folder / "model.json"


@pytest.mark.parametrize("sides", [(32, 32), (75, 75), (200, 131), (1, 3)])
def test_it_answers_as_the_model_does(pushed, model_file, sides, tmp_path):
    batch = np.stack(pictures(3, *sides))
    batch.tofile(tmp_path / "pixels")
    arguments = [model_file, tmp_path / "pixels", *sides]
    done = subprocess.run(
        ["node", str(SCRIPT), *map(str, arguments)],
        env={"PATH": "/usr/bin:/bin", "NODE_PATH": str(REPOSITORY / "build/tfjs/node_modules")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    signature = tf.saved_model.load(str(pushed)).signatures[features.PREDICT_PIXELS]
    expected = signature(pixels=tf.constant(batch))[features.PROBABILITIES].numpy()
    difference = np.abs(np.array(told["probabilities"]) - expected).max()
    print(f"{sides}: largest difference of a probability {difference:.1e}")
    assert difference < 1e-5
    assert ExportMetadata.of(told["metadata"][KEY], "it").format == "tfjs"
