"""What goes wrong around the command on its machine; ``make test-faults`` (12 minutes).

One root with a pushed model is prepared once. Each test begins with it as it was then.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from command import told

pytestmark = pytest.mark.faults

STEP_OF_EVERY_RUN = {"baseline"}  # TFX never caches what it looks up
NO_LIMITS = "-dac_override,-dac_read_search"  # what lets root pass over permissions


@dataclass(frozen=True)
class Place:
    """A root and its cache, and copies of both as they were after a whole run."""

    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "a root"

    @property
    def cache(self) -> Path:
        return self.directory / "cache"

    def arguments(self) -> list[str]:
        """Each step of the pipeline, as small as it can be with a backbone."""
        return [
            *("run", "--config", "digits", f"root={self.root}", f"cache={self.cache}"),
            *("backbone.handle=standin", "backbone.trainable_from=head", "feature_cache=true"),
            *("training.epochs=null", "training.steps=30", "training.learning_rate=0.01"),
            *("gate.min_accuracy=0.1", "gate.max_accuracy_loss=0.9", "infra.server=none"),
        ]

    def start(self, *overrides: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *before,
                sys.executable,
                "-m",
                "inception_finetune",
                *self.arguments(),
                *overrides,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *overrides: str, before: tuple[str, ...] = ()) -> "Ended":
        process = self.start(*overrides, before=before)
        return ended(process, *process.communicate(timeout=900))

    def run_and_lose(self, step: str, lost: str, *overrides: str) -> "Ended":
        """Removes what `lost` matches below the root or cache as soon as `step` begins."""
        process = self.start(*overrides)
        stderr = ""
        for line in process.stderr:
            stderr += line
            if line.strip() == step:
                [*places] = self.directory.glob(lost)
                assert places
                for path in places:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        return ended(process, process.stdout.read(), stderr)

    def one(self, pattern: str) -> Path:
        """The newest file below the root that fits."""
        return max(self.root.glob(pattern), key=lambda path: path.stat().st_mtime)

    def contents(self, *but: str) -> dict[str, bytes]:
        """All files below the root."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and path.name not in (".run.lock", ".run.pid", *but)
        }

    def serves(self) -> bool:
        """Whether the newest version loads and answers."""
        import tensorflow as tf

        graphs = (self.root / "serving/digits").glob("*/saved_model.pb")
        newest = max(graphs, key=lambda path: int(path.parent.name)).parent
        answer = tf.saved_model.load(str(newest)).signatures["predict_images"]
        return answer(images=tf.constant([b"no picture"]))["label_id"].numpy().tolist() == [-1]

    def shown(self, message: str) -> str:
        return message.replace(str(self.directory), "…")


@dataclass(frozen=True)
class Ended:
    status: int
    ran: set[str]  # steps that were not cached, of a run that completed
    told: list[str]  # lines on stderr that are no step's name

    @property
    def line(self) -> str:
        """The one line of a run that failed."""
        assert self.status == 1, self
        [line] = [line for line in self.told if line.startswith("error: ")]
        assert self.told[-1] == line and not any("Traceback" in one for one in self.told), self
        return line.removeprefix("error: ")


def ended(process: subprocess.Popen[str], out: str, stderr: str) -> Ended:
    rows = [line.split("│") for line in out.splitlines() if line.startswith("│")]
    ran = {row[1].strip() for row in rows if row[3].strip() == "ran"}
    return Ended(process.wait(), ran, told(stderr))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Place:
    place = Place(tmp_path_factory.mktemp("system"))
    first = place.run()
    assert first.status == 0, first
    for name in ("a root", "cache"):
        shutil.copytree(place.directory / name, place.directory / "whole" / name, symlinks=True)
    return place


@pytest.fixture
def place(prepared) -> Iterator[Place]:
    yield prepared
    for name in ("a root", "cache"):
        shutil.rmtree(prepared.directory / name)
        whole = prepared.directory / "whole" / name
        shutil.copytree(whole, prepared.directory / name, symlinks=True)


AFTER_TRAINING = {"TestPredictions", "Evaluator", "ModelReport", "Pusher"}


@pytest.mark.parametrize(
    ("fault", "lost", "made_again"),
    [
        (
            "file of the Transform graph vanishes",
            "artifacts/Transform/transform_graph/*/transform_fn/saved_model.pb",
            {"Transform", "TrunkFeatures", "Trainer", *AFTER_TRAINING},
        ),
        (
            "file of the trunk features vanishes",
            "artifacts/TrunkFeatures/trunk_features/*/Split-train/*",
            {"TrunkFeatures", "Trainer", *AFTER_TRAINING},
        ),
        (
            "last blessed model vanishes",
            "artifacts/Trainer/model/*/Format-Serving/saved_model.pb",
            {"Trainer", *AFTER_TRAINING},
        ),
        ("file of the pushed model vanishes", "serving/digits/*/variables/*.index", {"Pusher"}),
    ],
)
def test_a_file_that_vanishes_is_made_again_with_all_that_came_of_it(
    place, recorder, fault, lost, made_again
):
    path = place.one(lost)
    path.unlink()
    second = place.run()
    assert second.status == 0, second
    assert second.ran == made_again | STEP_OF_EVERY_RUN
    [message] = [line for line in second.told if str(path) in line]
    assert place.serves()
    recorder.add("system", fault, survived=1, message=place.shown(message))


def test_folders_that_vanish_are_made_again(place, recorder):
    for folder in ("serving", "records"):
        shutil.rmtree(place.root / folder)
    shutil.rmtree(place.cache)
    second = place.run()
    assert second.status == 0, second
    # ImportExampleGen goes by the records' dates, and they have new ones.
    assert {"ImportExampleGen", "Pusher"} <= second.ran and place.serves()
    recorder.add("system", "serving, records or cache folder vanishes", tries=3, survived=3)


@pytest.mark.parametrize(
    ("fault", "override", "told"),
    [
        ("archive vanishes", "dataset.archive={}/gone.tar.gz", "No such file"),
        ("backbone vanishes", "backbone.handle={}/gone", "gone is not a backbone"),
    ],
)
def test_what_was_given_and_vanishes_is_named(place, recorder, fault, override, told):
    before = place.contents()
    line = place.run(override.format(place.directory)).line
    assert told in line
    assert place.contents() == before
    recorder.add("system", fault, survived=1, message=place.shown(line))


def test_what_vanishes_while_it_runs_is_named_and_the_next_run_completes(place, recorder):
    other = "dataset.seed=1"  # every step runs again
    for fault, step, lost in (
        ("records vanish in a run", "ImportExampleGen", "a root/records"),
        ("backbone vanishes in a run", "TrunkFeatures", "cache/backbones/standin-inception_v3"),
        ("Transform graph vanishes in a run", "Trainer", "a root/artifacts/Transform/*/*/*/*.pb"),
    ):
        line = place.run_and_lose(step, lost, other).line
        recorder.add("system", fault, survived=1, message=place.shown(line))
    last = place.run(other)
    assert last.status == 0, last
    assert "Transform" in last.ran and place.serves()


@pytest.mark.parametrize(
    ("fault", "lose"),
    [
        ("metadata vanish", Path.unlink),
        ("metadata are emptied", lambda path: path.write_bytes(b"")),
    ],
)
def test_results_without_metadata_are_not_mixed_with_new_ones(
    place, recorder, fault, lose: Callable[[Path], object]
):
    metadata = place.root / "metadata.sqlite"
    whole, before = metadata.read_bytes(), place.contents(metadata.name)
    lose(metadata)
    line = place.run().line
    assert "Put the right one back, or move" in line
    assert place.contents(metadata.name) == before
    metadata.write_bytes(whole)
    assert place.run().ran == STEP_OF_EVERY_RUN
    recorder.add("system", fault, survived=1, message=place.shown(line))


@contextlib.contextmanager
def locked(metadata: Path) -> Iterator[None]:
    """Another program's transaction, until the block ends."""
    connection = sqlite3.connect(metadata, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


def wait_until_opened(file: Path, process: subprocess.Popen[str]) -> None:
    """Waits until a process has opened a file."""
    descriptors = Path(f"/proc/{process.pid}/fd")
    ends = time.monotonic() + 120
    while str(file.resolve()) not in {os.path.realpath(one) for one in descriptors.iterdir()}:
        assert process.poll() is None and time.monotonic() < ends
        time.sleep(0.05)


def test_metadata_that_another_program_locks(place, recorder):
    metadata = place.root / "metadata.sqlite"
    before = place.contents()
    with locked(metadata):
        line = place.run().line
    assert "End the other program" in line
    assert place.contents() == before
    recorder.add("system", "metadata locked", survived=1, message=place.shown(line))
    with locked(metadata):
        process = place.start()
        wait_until_opened(metadata, process)
        time.sleep(2)
        assert process.poll() is None
    assert ended(process, *process.communicate(timeout=900)).ran == STEP_OF_EVERY_RUN
    recorder.add("system", "metadata locked for a moment", survived=1)


def test_two_runs_at_the_same_time_on_one_root(place, recorder):
    processes = [place.start("training.seed=1") for _ in range(2)]
    done = sorted(
        (ended(process, *process.communicate(timeout=900)) for process in processes),
        key=lambda one: one.status,
    )
    assert [one.status for one in done] == [0, 1]
    assert "one run at a time works in a pipeline's root" in done[1].line
    assert place.run("training.seed=1").ran == STEP_OF_EVERY_RUN
    assert place.serves()
    message = place.shown(done[1].line)
    recorder.add("system", "two runs at once on one root", survived=2, tries=2, message=message)


def test_two_roots_share_a_cache_at_the_same_time(place, recorder):
    shutil.rmtree(place.cache)
    roots = [place.directory / "first root", place.directory / "second root"]
    processes = [place.start(f"root={root}", "training.steps=5") for root in roots]
    done = [ended(process, *process.communicate(timeout=900)) for process in processes]
    assert [one.status for one in done] == [0, 0], done
    waited = [line for one in done for line in one.told if line.startswith("waiting for")]
    message = place.shown(waited[0])
    recorder.add("system", "two roots share a cache", survived=2, tries=2, message=message)


def test_a_damaged_test_picture_in_records_that_nobody_checked(place, recorder):
    """Nothing decodes test pictures before the trained model is asked about them."""
    import tensorflow as tf

    from inception_finetune.components import features
    from inception_finetune.components.errors import UserError
    from inception_finetune.pipeline.config import load_config
    from inception_finetune.pipeline.inputs import prepare_inputs
    from inception_finetune.pipeline.local import run_pipeline

    config = load_config("digits", place.arguments()[3:])
    inputs = prepare_inputs(config)
    records = shutil.copytree(inputs.records, place.root / "other records")
    shard = next(records.glob("test-*"))
    serialized = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
    example = tf.train.Example.FromString(serialized[5])
    encoded = example.features.feature[features.IMAGE_ENCODED].bytes_list
    encoded.value[0] = encoded.value[0][:60]
    identity = example.features.feature[features.IMAGE_ID].bytes_list.value[0].decode()
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for one in (*serialized[:5], example.SerializeToString(), *serialized[6:]):
            writer.write(one)
    with pytest.raises(
        UserError, match=f"Image {identity} .* is not a whole PNG or JPEG"
    ) as failure:
        run_pipeline(config, replace(inputs, records=str(records)))
    assert "\n" not in str(failure.value)
    message = place.shown(str(failure.value))
    recorder.add("system", "damaged test picture, not checked", survived=1, message=message)


@pytest.fixture(scope="session")
def bound() -> tuple[str, ...]:
    """What a command has to begin with so that permissions bind it, as they do not bind root."""
    if os.geteuid() != 0:
        return ()
    prefix = ("setpriv", f"--bounding-set={NO_LIMITS}", f"--inh-caps={NO_LIMITS}")
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("permissions do not bind root here: setpriv cannot give up its capabilities")
    return prefix


@pytest.mark.parametrize(
    ("closed", "change", "afterwards"),
    [
        ("a root", "dataset.seed=1", "dataset.seed=0"),
        (
            "a root/artifacts/Transform/transform_graph",
            "image.central_crop=0.9",
            "image.central_crop=1.0",
        ),
        ("cache/archives", "dataset.seed=0", "dataset.seed=0"),
        ("a root/serving/digits", "gate.min_accuracy=0.2", "gate.min_accuracy=0.2"),
    ],
)
def test_a_folder_that_may_not_be_written_is_named(
    place, bound, recorder, closed, change, afterwards
):
    before, directory = place.contents("metadata.sqlite"), place.directory / closed
    directory.chmod(0o500)
    try:
        line = place.run(change, before=bound).line
    finally:
        directory.chmod(0o700)
    assert "Permission denied" in line and str(directory) in line
    after = place.contents("metadata.sqlite")
    assert {name: after.get(name) for name in before} == before
    last = place.run(afterwards)
    assert last.status == 0 and place.serves(), last
    recorder.add("system", "folder may not be written", survived=1, message=place.shown(line))
