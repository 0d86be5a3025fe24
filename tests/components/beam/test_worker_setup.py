"""A worker process prints nothing of its own."""

import os
import subprocess
import sys

from helpers.paths import REPOSITORY


def test_a_worker_loads_tensorflow_without_a_word():
    code = (
        "import sys, inception_finetune.components.beam.worker_setup;"
        "sys.exit('tensorflow' not in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
