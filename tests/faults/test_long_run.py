"""Many runs in a row on one root: what grows, and what cleaning keeps; ``make test-faults``.

RUNS says how many (each takes about 20 seconds): ``make test-faults RUNS=100`` for the real thing;
FAULT_MINUTES when to stop earlier.
"""

import os
import statistics
import subprocess
import sys
import threading
from dataclasses import astuple, dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from command import NAME, Command, in_time, metadata, missing_artifacts, serving
from PIL import Image

from helpers.reader import digest, numbered, unreadable

pytestmark = pytest.mark.faults

RUNS = int(os.environ.get("RUNS", "5"))  # 5 or more
CLEAN_EVERY = 10 if RUNS >= 20 else 1
KEEP = 3
SHOWN = (1, 10, 20, 40, 60, 80, 100)  # and the last
TRAIN, TEST = 20, 5  # pictures of each class
REFUSED = 3  # the exit status of a run whose model the gate refuses
MB = 2**20
ALLOWED = 1.15  # times what an early run took: what "flat" means here


@dataclass(frozen=True)
class Measured:
    """Of one run, and of the root after it, and after the cleaning that follows it."""

    run: int
    memory: float  # MB at the process's peak
    files: int  # that the process had open, at most
    processor: float  # seconds of processor time: of the clock's, other work takes its part
    models: float  # MB of blessed and pushed models, and of what serves
    database: float  # MB of metadata.sqlite
    others: float  # MB of all the rest below the root


HEAD = (
    "| run | peak memory, MB | open files | processor time, s "
    "| blessed, pushed and served models, MB | metadata.sqlite, MB | rest of the root, MB |"
)


class Watch(threading.Thread):
    """Reads what the system says of a process, until it is gone."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = Path(f"/proc/{pid}")
        self._ended = threading.Event()
        self.memory, self.files, self.processor = 0.0, 0, 0.0

    def run(self) -> None:
        while not self._ended.wait(0.1):
            try:
                status = (self._process / "status").read_text()
                ticks = (self._process / "stat").read_text().rpartition(")")[2].split()[11:13]
                files = len(list((self._process / "fd").iterdir()))
            except OSError:
                return
            if "VmHWM:" not in status:  # it has ended and waits to be asked for its status
                return
            self.memory = int(status.partition("VmHWM:")[2].split()[0]) / 1024
            self.files = max(self.files, files)
            self.processor = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Real digits in class folders: as few as make a data set."""
    from sklearn.datasets import load_digits

    folder, digits = tmp_path_factory.mktemp("pictures"), load_digits()
    for label in range(10):
        images = digits.images[digits.target == label][: TRAIN + TEST]
        for number, image in enumerate(images):
            target = folder / ("train" if number < TRAIN else "test") / str(label)
            target.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 15).astype(np.uint8)).save(target / f"{number}.png")
    return folder


def size(*folders: Path) -> float:
    """MB of all files."""
    files = [path for folder in folders for path in [folder, *folder.rglob("*")] if path.is_file()]
    return sum(path.stat().st_size for path in files) / MB


def blessed_and_pushed(place: Path) -> set[Path]:
    """Folders of models, blessings and pushed copies that the metadata call so."""
    store = metadata(place)
    found = set()
    for blessing in store.get_artifacts_by_type("ModelBlessing"):
        if blessing.custom_properties["blessed"].int_value:
            model_id = blessing.custom_properties["current_model_id"].int_value
            found |= {blessing.uri, *(model.uri for model in store.get_artifacts_by_id([model_id]))}
    for pushed in store.get_artifacts_by_type("PushedModel"):
        if pushed.custom_properties["pushed"].int_value:
            found |= {pushed.uri, pushed.custom_properties["pushed_destination"].string_value}
    return {Path(uri) for uri in found}


def clean(place: Path) -> None:
    arguments = ["clean", "--config", NAME, f"root={place / 'root'}", "--keep", str(KEEP)]
    subprocess.run(
        [sys.executable, "-m", "inception_finetune", *arguments],
        check=True,
        capture_output=True,
    )


def one_run(place: Path, pictures: Path, number: int) -> Measured:
    """Every other model is refused: cleaning may remove it."""
    bound = 0.0 if number % 2 else 1.0
    more = (f"dataset.archive={pictures}", f"gate.min_accuracy={bound}")
    command = Command(place, *more, seed=number)
    watch = Watch(command.process.pid)
    watch.start()
    command.follow()
    watch.stop()
    expected = 0 if number % 2 else REFUSED
    assert command.process.wait() == expected, "".join(command.said)
    assert {"Trainer", "Evaluator"} <= command.started.keys()
    if number % CLEAN_EVERY == 0:
        clean(place)
    root, database = place / "root", size(place / "root/metadata.sqlite")
    models = size(*blessed_and_pushed(place))
    others = size(root) - models - database
    return Measured(number, watch.memory, watch.files, watch.processor, models, database, others)


def median(measured: list[Measured], field: str) -> float:
    return statistics.median(getattr(one, field) for one in measured)


def test_many_runs_leave_what_is_bounded_and_lose_no_model(tmp_path, pictures, recorder):
    measured: list[Measured] = []
    digests: dict[Path, str] = {}
    for number in takewhile(lambda _: in_time(), range(1, RUNS + 1)):
        measured.append(one_run(tmp_path, pictures, number))
        print(measured[-1], flush=True)
        for folder in blessed_and_pushed(tmp_path) - digests.keys():
            digests[folder] = digest(folder)
    runs = len(measured)
    lost = [str(folder) for folder in digests if digest(folder) != digests[folder]]
    lost += missing_artifacts(tmp_path) + unreadable(serving(tmp_path), numbered(serving(tmp_path)))
    few = max(2, runs // 10)
    growth = (measured[-1].database - measured[0].database) / (runs - 1)
    recorder.add(
        "long run",
        "run after run on one root, cleaned in between",
        tries=runs,
        survived=runs - len(lost),
        lost=len(lost),
        message=f"{len(numbered(serving(tmp_path)))} versions pushed and whole; "
        f"the metadata grow by {growth * 1024:.0f} KB a run",
    )
    recorder.tables[HEAD] = [astuple(one) for one in measured if one.run in (*SHOWN, runs)]
    assert not lost
    assert len(numbered(serving(tmp_path))) == (runs + 1) // 2
    early, late = measured[1 : 1 + few], measured[-few:]
    for field in ("memory", "files", "processor"):
        assert median(late, field) <= median(early, field) * ALLOWED, (field, measured)
    cleaned = [one for one in measured[KEEP - 1 :] if one.run % CLEAN_EVERY == 0]
    # Of as many refused models among those that are kept.
    others = [one.others for one in cleaned if (cleaned[-1].run - one.run) % 2 == 0]
    assert len(others) > 1 and max(others) <= others[0] * ALLOWED
    middle = measured[runs // 2]
    second = (measured[-1].database - middle.database) / (measured[-1].run - middle.run)
    assert second <= growth * ALLOWED * 1.2  # pages of a database come in steps
