"""A clock that was set back, under the whole command, with libfaketime; ``make test-faults``."""

import json
import shutil
import time
from pathlib import Path

import pytest
from command import Command, metadata, serving

from helpers.reader import numbered, unreadable
from inception_finetune.components.model_report.settings import FACTS
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.history.runs import read_runs

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(shutil.which("faketime") is None, reason="needs Debian's faketime"),
]
DAY = 86400
TRAINER = "tfx.components.trainer.component.Trainer"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("clock")


def clock(file: Path, difference: str) -> dict[str, str]:
    """The environment of a process whose clock is wrong by what stands in `file`, all the time."""
    [library] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    file.write_text(difference)
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # nor does a clock that is set back
    }


def runs(place: Path):
    return read_runs(load_config("digits", [f"root={place / 'root'}"]))


def baseline(place: Path) -> int | None:
    """Id of the model that the newest run's candidate was compared with."""
    blessing = runs(place)[-1].artifacts["Evaluator", "blessing"].custom_properties
    return blessing["baseline_model_id"].int_value or None


def newest_model(place: Path) -> int:
    return runs(place)[-1].artifacts["Trainer", "model"].id


def wait_for_trainings(place: Path, count: int) -> None:
    """Waits until so many trainings have been begun by the metadata, a minute at most."""
    for _ in range(600):
        if len(metadata(place).get_executions_by_type(TRAINER)) >= count:
            return
        time.sleep(0.1)
    raise TimeoutError(f"no {count} trainings")


def test_runs_go_on_in_their_own_order(place, recorder, tmp_path):
    Command(place, seed=0).complete()
    assert baseline(place) is None
    first = newest_model(place)
    [version] = numbered(serving(place))

    yesterday = clock(tmp_path / "yesterday", f"-{DAY}s")
    Command(place, seed=1, environment=yesterday).complete()
    made = [run.started for run in runs(place)]
    assert (made[0] - made[1]).total_seconds() == pytest.approx(DAY, abs=600)
    assert baseline(place) == first
    second = newest_model(place)
    versions = sorted(map(int, numbered(serving(place))))
    assert versions == [int(version), int(version) + 1]
    assert runs(place)[-1].pushed == serving(place) / str(versions[1])
    recorder.add(
        "clock",
        "set back by a day before a run",
        survived=1,
        message="it is compared with the model before it, and its version is the highest",
    )

    jumping = Command(place, seed=2, environment=clock(tmp_path / "jumping", "+0s"))
    jumping.follow("Trainer")
    wait_for_trainings(place, 3)  # the step is announced before its start is recorded
    (tmp_path / "jumping").write_text(f"-{2 * DAY}s")
    jumping.complete()
    steps = {step.name: step for step in runs(place)[-1].steps}
    assert 0 <= steps["Trainer"].seconds < 600
    report = json.loads(Path(runs(place)[-1].uri("ModelReport", "model_report"), FACTS).read_text())
    [cost] = [step for step in report["steps"] if step["name"] == "Trainer"]
    assert cost["seconds"] is None  # no figure rather than a negative one
    assert baseline(place) == second
    assert max(map(int, numbered(serving(place)))) == versions[1] + 1
    assert runs(place)[-1].pushed == serving(place) / str(versions[1] + 1)
    recorder.add(
        "clock",
        "jumping back by two days in the middle of a run",
        survived=1,
        message="it is compared with the model before it, and its version is the highest",
    )
    models = metadata(place).get_artifacts_by_type("Model")
    late = max(models, key=lambda model: model.id)
    assert late.create_time_since_epoch < models[0].create_time_since_epoch  # the jump was real
    assert not unreadable(serving(place), numbered(serving(place)))
