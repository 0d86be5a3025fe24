"""A version is pushed whole or not at all, above those that are there; killed pushes leave none."""

import errno
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from tfx.dsl.io import fileio

from helpers.made_exports import made_record
from helpers.pushing import contents, export_model, push, served
from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.pusher.serving_folder import UNFINISHED


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return export_model(tmp_path_factory.mktemp("model"), answer=1.0)


@pytest.fixture(scope="module")
def whole(model) -> dict[str, bytes]:
    files = contents(model / "Format-Serving")
    assert len(files) >= 4 and "saved_model.pb" in files
    return files


@pytest.fixture
def serving(tmp_path) -> Path:
    return tmp_path / "served" / "name"


def before_each_copy(monkeypatch, act) -> None:
    """Calls `act` with a counter, before each file that is copied."""
    copy, number = fileio.copy, iter(range(10**6))

    def observed(source, target, overwrite=False):
        act(next(number))
        copy(source, target, overwrite=overwrite)

    monkeypatch.setattr(fileio, "copy", observed)


def test_a_pushed_model_answers_and_is_named_in_the_artifact(model, whole, serving, tmp_path):
    import tensorflow as tf

    before = int(time.time())
    pushed = push(model, serving, tmp_path / "archive")
    [(version, files)] = served(serving).items()
    assert files == whole == contents(tmp_path / "archive")
    assert before <= int(version) <= time.time()
    assert tf.saved_model.load(str(serving / version))().numpy() == 1.0
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_destination") == str(serving / version)
    assert pushed.get_string_custom_property("pushed_version") == version
    assert list(serving.iterdir()) == [serving / version]


def test_a_refused_model_is_not_pushed(model, serving, tmp_path):
    pushed = push(model, serving, tmp_path / "archive", blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not serving.exists()


def test_two_pushes_within_a_second_are_two_versions(model, whole, serving, tmp_path):
    versions = [
        int(push(model, serving, tmp_path / name).get_string_custom_property("pushed_version"))
        for name in ("a", "b")
    ]
    assert versions[1] > versions[0]
    assert served(serving) == {str(version): whole for version in versions}


def test_a_clock_that_was_set_back_gives_a_higher_version_all_the_same(
    model, whole, serving, tmp_path
):
    future = int(time.time()) + 10**6
    (serving / f"{future}").mkdir(parents=True)
    (serving / "notes").mkdir()
    push(model, serving, tmp_path / "archive")
    assert served(serving)[str(future + 1)] == whole


def test_readers_see_nothing_of_a_version_before_it_is_whole(
    model, whole, serving, tmp_path, monkeypatch
):
    seen = []
    push(model, serving, tmp_path / "first")
    before_each_copy(monkeypatch, lambda number: seen.append(served(serving)))
    push(model, serving, tmp_path / "second")
    assert len(seen) == 2 * len(whole)  # to serve and to keep
    assert all(list(found.values()) == [whole] for found in seen)
    assert list(served(serving).values()) == [whole, whole]


def test_a_killed_push_leaves_nothing_to_serve_and_the_next_one_clears_up(
    model, whole, serving, tmp_path
):
    push(model, serving, tmp_path / "first")
    old = served(serving)
    for last in range(2 * len(whole)):
        if (child := os.fork()) == 0:
            with pytest.MonkeyPatch.context() as patch:
                before_each_copy(
                    patch,
                    lambda number, last=last: (
                        os.kill(os.getpid(), signal.SIGKILL) if number == last else None
                    ),
                )
                push(model, serving, tmp_path / f"killed {last}")
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        assert served(serving) == old
        assert len(list(serving.glob(f"{UNFINISHED}*"))) == 1  # the one before it is gone
    push(model, serving, tmp_path / "last")
    assert list(served(serving).values()) == [whole, whole]
    assert not list(serving.glob(f"{UNFINISHED}*"))


def test_what_another_process_is_pushing_stays(model, whole, serving, tmp_path, monkeypatch):
    """Where a volume is mounted in many pods, no lock of a run keeps pushes apart."""

    def push_another(number: int) -> None:
        if number == 2:
            push(model, serving, tmp_path / "another")

    before_each_copy(monkeypatch, push_another)
    push(model, serving, tmp_path / "archive")
    assert list(served(serving).values()) == [whole, whole]


def test_a_full_disk_leaves_nothing(model, serving, tmp_path, monkeypatch):
    def fill(number: int) -> None:
        if number == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before_each_copy(monkeypatch, fill)
    with pytest.raises(OSError, match="No space left on device"):
        push(model, serving, tmp_path / "archive")
    assert not list(serving.iterdir())


@pytest.fixture
def exports(tmp_path) -> Path:
    """What Export writes: a file that passed, and the record, in which others were refused."""
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "exports.json").write_text(made_record().model_dump_json())
    (folder / "model.onnx").write_bytes(b"the file")
    (folder / "model-int8.tflite").write_bytes(b"of an earlier attempt")
    return folder


def test_a_version_has_its_exports_as_soon_as_it_is_there(
    model, whole, exports, serving, tmp_path, monkeypatch
):
    copy, seen = shutil.copyfile, []

    def observed(source, target):
        seen.append(served(serving))
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", observed)
    pushed = push(model, serving, tmp_path / "archive", exports=exports)
    assert seen == [{}, {}]
    [(version, files)] = served(serving).items()
    assert files == whole | {
        "assets.extra/exports/model.onnx": b"the file",
        "assets.extra/exports/exports.json": (exports / "exports.json").read_bytes(),
    }
    assert pushed.get_string_custom_property("pushed_destination") == str(serving / version)
    # It is the same SavedModel, whatever it carries.
    assert fingerprint(serving / version) == fingerprint(model / "Format-Serving")


def test_exports_that_do_not_fit_on_the_disk_leave_no_version(
    model, exports, serving, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left on device"):
        push(model, serving, tmp_path / "archive", exports=exports)
    assert not list(serving.iterdir())
