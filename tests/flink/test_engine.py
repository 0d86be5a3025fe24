"""The pipeline on a real Flink: what it gives is what this process gives."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from components.record_index import COMPRESSION

pytestmark = pytest.mark.flink
SMALLEST = (
    "image.size=32",
    "image.central_crop=1.0",
    "backbone.handle=scratch_cnn",
    "training.epochs=1",
    "gate.min_accuracy=0.1",
)
METRICS = re.compile(r"^(accuracy|top 2 accuracy|cross entropy): ([\d.]+)$", re.MULTILINE)
SECONDS = re.compile(r"│ (\w+) +│ +([\d.]+) │ ran")


def run_dag(root: Path, cache: Path, *overrides: str) -> str:
    command = Path(sys.executable).with_name("inception-finetune")
    ran = subprocess.run(
        [command, "run", f"root={root}", f"cache={cache}", *SMALLEST, *overrides],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout


def count_records(pattern: str, root: Path) -> int:
    files = [str(path) for path in root.glob(pattern)]
    dataset = tf.data.TFRecordDataset(files, COMPRESSION)
    return sum(1 for _ in dataset.as_numpy_iterator())


def examples_at_each_step(root: Path) -> dict[str, int]:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    artifacts = root / "artifacts"
    found = {}
    for split in ("train", "validation", "test"):
        pattern = f"ImportExampleGen/examples/*/Split-{split}/*.gz"
        found[f"examples {split}"] = count_records(pattern, artifacts)
        [stats] = artifacts.glob(f"StatisticsGen/statistics/*/Split-{split}/FeatureStats.pb")
        statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(stats.read_bytes())
        found[f"statistics {split}"] = statistics.datasets[0].num_examples
    found["predictions"] = count_records("TestPredictions/*/*/Split-test/*", artifacts)
    return found


def test_the_dag_measures_on_flink_what_it_measures_here(cluster, tmp_path):
    cache = tmp_path / "cache"
    here = run_dag(tmp_path / "here", cache)
    there = run_dag(
        tmp_path / "there",
        cache,
        "beam.runner=flink",
        f"beam.job_endpoint={cluster.job_endpoint}",
        "beam.parallelism=2",
    )
    assert METRICS.findall(there) == METRICS.findall(here) and len(METRICS.findall(here)) == 3
    finished = [job["state"] for job in cluster.rest("jobs/overview")["jobs"]]
    assert len(finished) >= 5 and set(finished) == {"FINISHED"}
    counts = examples_at_each_step(tmp_path / "here")
    assert examples_at_each_step(tmp_path / "there") == counts
    assert counts == {
        **{f"{step} train": 1295 for step in ("examples", "statistics")},
        **{f"{step} validation": 142 for step in ("examples", "statistics")},
        **{f"{step} test": 360 for step in ("examples", "statistics")},
        "predictions": 360,
    }
    for name, output in (("here", here), ("Flink", there)):
        print(name, ", ".join(f"{step} {seconds} s" for step, seconds in SECONDS.findall(output)))
    print("examples", counts)


def test_a_folder_is_converted_on_flink_to_the_bytes_that_it_gives_here(cluster, tmp_path):
    from PIL import Image

    for number in range(60):
        path = tmp_path / "pictures" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (number, 4 * number, 0)).save(path)
    command = Path(sys.executable).with_name("inception-finetune")
    engine = (
        "beam.runner=flink",
        f"beam.job_endpoint={cluster.job_endpoint}",
        "beam.parallelism=2",
    )
    written = []
    for name, overrides in (("here", ()), ("there", engine)):
        source = f"dataset.archive={tmp_path / 'pictures'}"
        arguments = [command, "data", "convert", str(tmp_path / name), source, *overrides]
        ran = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr[-2000:]
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1] and len(written[0]) == 5
