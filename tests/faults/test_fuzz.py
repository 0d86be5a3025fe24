"""The served signature under a coverage-guided fuzzer, for a fixed number of inputs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bad_pictures import bad_pictures

from helpers.made_pictures import encoded

INPUTS = int(os.environ.get("FUZZ_INPUTS", "5000"))
_LARGEST = 4096  # bytes of an input


@pytest.mark.faults
def test_predict_images_answers_whatever_it_is_given(transform_output, tmp_path, recorder):
    import tf_keras as keras

    from inception_finetune.trainer import signatures

    image = keras.Input([75, 75, 3])
    hidden = keras.layers.GlobalAveragePooling2D()(image)
    network = keras.Model(image, [hidden, keras.layers.Dense(3)(hidden)])
    model = str(tmp_path / "model")
    signatures.export(
        signatures.ServingModel(network, transform_output, ("a", "b", "c"), central_crop=0.875),
        model,
    )
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    seeds = [data for _, _, data, _ in bad_pictures()] + [encoded(1), encoded(2, "JPEG")]
    for number, data in enumerate(seeds):
        if len(data) <= _LARGEST:
            (corpus / str(number)).write_bytes(data)
    limits = [f"-runs={INPUTS}", "-seed=1", f"-max_len={_LARGEST}", "-rss_limit_mb=6000"]
    script = Path(__file__).with_name("fuzz_predict_images.py")
    fuzzed = subprocess.run(
        [sys.executable, str(script), model, *limits, "-timeout=60", "-verbosity=0", str(corpus)],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=tmp_path,
        check=False,
    )
    told = re.findall(r"tried (\d+): \d+ fine, \d+ refused", fuzzed.stdout)
    tried = int(told[-1]) if told else 0
    whole = fuzzed.returncode == 0 and tried > INPUTS - 100
    message = re.findall(r"tried .*", fuzzed.stdout)[-1] if told else fuzzed.stderr[-300:]
    recorder.add(
        "serving",
        "inputs of a coverage-guided fuzzer",
        tries=INPUTS,
        survived=tried if whole else 0,
        message=message,
    )
    assert whole, fuzzed.stderr[-3000:]
