"""Worker processes end with the process that they work for, whatever kills it."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from helpers.paths import REPOSITORY

CONVERSION = """
import os, signal, sys, time
import numpy as np
from pathlib import Path
from inception_finetune.components.dataset import convert
from inception_finetune.components.dataset.shards import ShardSource


class Endless:
    def __iter__(self):
        print(os.getpid(), flush=True)
        time.sleep(600)
        yield


signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup makes all below it ignore
if __name__ == "__main__":
    place = Path(sys.argv[1])
    sources = [ShardSource(place / n, Endless(), np.zeros(1, np.int64), (n,)) for n in "ab"]
    list(convert._write_in_processes(sources, 2))
"""

BEAM = """
import os, time
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from inception_finetune.pipeline.beam_options import PROCESS_RUNNER


def endless(_):
    import os, time
    print(os.getpid(), flush=True)
    time.sleep(600)


flags = [f"--runner={PROCESS_RUNNER}", "--direct_running_mode=multi_processing"]
with beam.Pipeline(options=PipelineOptions([*flags, "--direct_num_workers=2"])) as root:
    root | beam.Create([1]) | beam.Map(endless)
"""


@pytest.mark.parametrize(
    ("code", "working", "killed_by"),
    [
        pytest.param(CONVERSION, 2, signal.SIGKILL, id="conversion, SIGKILL"),
        pytest.param(CONVERSION, 2, signal.SIGTERM, id="conversion, SIGTERM"),
        pytest.param(CONVERSION, 2, signal.SIGHUP, id="conversion, SIGHUP"),
        pytest.param(BEAM, 0, signal.SIGKILL, id="Beam's workers as they start"),
        pytest.param(BEAM, 1, signal.SIGKILL, id="Beam's workers at work"),
    ],
)
def test_no_worker_outlives_a_killed_command(tmp_path, code, working, killed_by):
    (tmp_path / "main.py").write_text(code)
    main = subprocess.Popen(
        [sys.executable, tmp_path / "main.py", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")},
    )
    assert main.stdout is not None
    for _ in range(working):
        assert main.stdout.readline().strip().isdecimal()
    workers = []
    while len(workers) < 2:
        time.sleep(0.1)
        workers = psutil.Process(main.pid).children(recursive=True)
    main.send_signal(killed_by)
    main.wait(timeout=60)
    _, left = psutil.wait_procs(workers, timeout=10)
    for process in left:
        process.kill()
    assert not left
    assert main.stdout.read() == ""  # whoever reads the output sees its end
