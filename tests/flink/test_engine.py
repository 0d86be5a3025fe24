"""The pipeline on a real Flink: what it gives is what this process gives."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from inception_finetune.components.evaluation.metrics import METRICS
from inception_finetune.components.features import SPLITS
from inception_finetune.components.io.record_index import COMPRESSION, RecordIndex

pytestmark = pytest.mark.flink
# Every step that an engine runs is there: the stand-in's whole trunk, at InceptionV3's smallest.
CONFIGURED = (
    "image.size=75",
    "backbone.handle=standin",
    "backbone.trainable_from=head",
    "feature_cache=true",
    "training.epochs=1",
    "gate.min_accuracy=0.1",
)
# Examples that each step sees, of the digits.
EXPECTED = {
    **{
        f"{step} {split}": number
        for step in ("ImportExampleGen", "StatisticsGen")
        for split, number in zip(SPLITS, (1295, 142, 360), strict=True)
    },
    "TrunkFeatures train": 1295,
    "TrunkFeatures validation": 142,
    "TestPredictions test": 360,
    "Evaluator test": 360,
}
TITLES = "|".join(re.escape(metric.title) for metric in METRICS.values())
MEASURED = re.compile(rf"^({TITLES}): ([\d.]+)$", re.MULTILINE)
SECONDS = re.compile(r"│ (\w+) +│ +([\d.]+) │ ran")


def dag(root: Path, cache: Path, overrides: Sequence[str]) -> list[str]:
    command = Path(sys.executable).with_name("inception-finetune")
    places = (f"root={root}", f"cache={cache}")
    return [str(command), "run", "--config", "digits", *places, *CONFIGURED, *overrides]


def run_dag(root: Path, cache: Path, overrides: Sequence[str]) -> tuple[str, float]:
    """What the command said, and how many seconds it took."""
    started = time.monotonic()
    arguments = dag(root, cache, overrides)
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout, time.monotonic() - started


def count_records(pattern: str, root: Path) -> int:
    files = [str(path) for path in root.glob(pattern)]
    dataset = tf.data.TFRecordDataset(files, COMPRESSION)
    return sum(1 for _ in dataset.as_numpy_iterator())


def examples_at_each_step(root: Path) -> dict[str, int]:
    """Counted in what each step wrote."""
    import tensorflow_model_analysis as tfma
    from tensorflow_metadata.proto.v0 import statistics_pb2

    artifacts, found = root / "artifacts", {}
    for split in SPLITS:
        pattern = f"ImportExampleGen/examples/*/Split-{split}/*.gz"
        found[f"ImportExampleGen {split}"] = count_records(pattern, artifacts)
        [stats] = artifacts.glob(f"StatisticsGen/statistics/*/Split-{split}/FeatureStats.pb")
        statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(stats.read_bytes())
        found[f"StatisticsGen {split}"] = statistics.datasets[0].num_examples
    for split in SPLITS[:2]:
        [index] = artifacts.glob(f"TrunkFeatures/trunk_features/*/index-{split}.npz")
        found[f"TrunkFeatures {split}"] = len(RecordIndex.load(str(index), ""))
    found["TestPredictions test"] = count_records("TestPredictions/*/*/Split-test/*", artifacts)
    [evaluation] = artifacts.glob("Evaluator/evaluation/*")
    [overall] = (
        row for row in tfma.load_metrics(str(evaluation)) if not row.slice_key.ListFields()
    )
    [count] = (
        metric.value.double_value.value
        for metric in overall.metric_keys_and_values
        if metric.key.name == "example_count"
    )
    found["Evaluator test"] = int(count)
    return found


def test_the_dag_measures_on_flink_what_it_measures_here(cluster, tmp_path):
    flink = ("beam.runner=flink", f"beam.job_endpoint={cluster.job_endpoint}")
    engines = {
        "direct, 1": (),
        "direct, 2": ("beam.running_mode=multi_processing", "beam.parallelism=2"),
        "Flink, 1": (*flink, "beam.parallelism=1"),
        "Flink, 2": (*flink, "beam.parallelism=2"),
    }
    measured, counts, took = {}, {}, {}
    for name, overrides in engines.items():
        root = tmp_path / name
        said, took[name] = run_dag(root, tmp_path / "cache", overrides)
        measured[name], counts[name] = MEASURED.findall(said), examples_at_each_step(root)
        steps = ", ".join(f"{step} {seconds}" for step, seconds in SECONDS.findall(said))
        ratio = took[name] / took["direct, 1"]
        print(f"{name}: {took[name]:.0f} s, {ratio:.2f} of direct, 1; {steps}")
    print("examples", counts["direct, 1"])
    assert len(measured["direct, 1"]) == len(METRICS)
    assert all(found == measured["direct, 1"] for found in measured.values())
    finished = [job["state"] for job in cluster.rest("jobs/overview")["jobs"]]
    assert len(finished) >= 12 and set(finished) == {"FINISHED"}
    assert all(found == EXPECTED for found in counts.values())


def test_a_cluster_that_dies_is_one_line_and_the_next_run_loses_and_doubles_nothing(
    cluster, tmp_path
):
    flink = ("beam.runner=flink", f"beam.job_endpoint={cluster.job_endpoint}", "beam.parallelism=2")
    root, started = tmp_path / "root", time.monotonic()

    def log(text: str) -> None:
        print(f"{time.monotonic() - started:4.0f} s: {text}")

    run = subprocess.Popen(
        dag(root, tmp_path / "cache", flink),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    written = "artifacts/TrunkFeatures/trunk_features/*/Split-*/*.tfrecord"
    while run.poll() is None and not list(root.glob(written)):
        time.sleep(0.1)
    cluster.kill_task_managers()
    log("TrunkFeatures writes; both TaskManagers killed, and none takes their place")
    _, said = run.communicate(timeout=400)
    told = [line for line in said.splitlines() if line.startswith("error: ")]
    log(f"run ended with {run.returncode}: {told}")
    assert run.returncode == 1
    assert len(told) == 1 and "A step on the Beam engine ended" in told[0]
    assert said.rstrip().endswith(told[0])
    for _ in range(2):
        cluster.add_task_manager()
    cluster.wait_for_task_managers(2)
    said, seconds = run_dag(root, tmp_path / "cache", flink)
    log(f"the next run completed in {seconds:.0f} s: {', '.join(SECONDS.findall(said)[0])}")
    assert examples_at_each_step(root) == EXPECTED


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
