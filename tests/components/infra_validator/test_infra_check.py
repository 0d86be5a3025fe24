"""Models behind real servers: what is measured, and each reason to refuse one."""

import json
import shutil
import sys

import numpy as np
import psutil
import pytest

from helpers.paths import REPOSITORY
from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.infra_validator.check import StoredAnswer, check_server
from inception_finetune.components.infra_validator.settings import InfraSection, ServerCheck
from inception_finetune.components.io.warm_up import write_warm_up

NAME = "null"  # a name as good as any, and no text on a command line
TESTS = REPOSITORY / "tests"
# As a configuration has it; `env` gives a server variables of its own.
MODEL_SERVER = (
    *("env", f"PYTHONPATH={TESTS}:{REPOSITORY / 'src'}", sys.executable, "-m"),
    *("helpers.model_server", "--model_name={model_name}", "--model_base_path={model_base_path}"),
    *("--rest_api_port={rest_port}", "--port={grpc_port}"),
)


@pytest.fixture(scope="module")
def pictures(brightness_model, examples) -> list[StoredAnswer]:
    """Three pictures, and what the model says of them when it is asked in this process."""
    import tensorflow as tf

    encoded = examples.encoded[2:8:2]
    model = tf.saved_model.load(str(brightness_model)).signatures["predict_images"]
    rows = model(images=tf.constant(encoded))[features.PROBABILITIES].numpy()
    return [
        StoredAnswer(f"picture {number}", picture, row)
        for number, (picture, row) in enumerate(zip(encoded, rows, strict=True))
    ]


@pytest.fixture
def checked(brightness_model, pictures, tmp_path):
    """``checked(model=..., pictures=..., **section)``; nothing may be left running after it."""

    def check(*, model=brightness_model, asked=pictures, **section) -> ServerCheck:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        before = running()
        try:
            return check_server(model, asked, NAME, InfraSection(**section), scratch)
        finally:
            assert running() <= before

    return check


@pytest.fixture
def scripted(checked, tmp_path):
    """``scripted(script, **section)`` checks with a server that follows the script."""

    def check(script: dict, **section) -> ServerCheck:
        (tmp_path / "script.json").write_text(json.dumps(script))
        server = TESTS / "helpers/scripted_server.py"
        words = (sys.executable, server, "{rest_port}", tmp_path / "script.json")
        # A server that looks for its model itself would be told where it is.
        return checked(server=(*map(str, words), "{model_base_path}"), **section)

    return check


def running() -> set[psutil.Process]:
    """This process's children; other tests may have left Python's own, such as its tracker."""
    return {
        one
        for one in psutil.Process().children(recursive=True)
        if one.status() != psutil.STATUS_ZOMBIE
    }


def predictions(row, error: str = "") -> str:
    """The body of TensorFlow Serving's answer to one row."""
    answered = {features.PROBABILITIES: [float(value) for value in row], features.ERROR: error}
    return json.dumps({"predictions": [answered]})


def test_our_own_server_serves_the_version_and_answers_as_the_model_did(
    checked, brightness_model, tmp_path
):
    model = shutil.copytree(brightness_model, tmp_path / "model")
    write_warm_up(model / features.EXTRA_ASSETS, size=75, explains=False)
    found = checked(model=model, max_memory=8)
    assert found.refusal is None
    assert (found.server, found.protocols, found.pictures) == ("serve", ("REST",), 3)
    assert found.largest_difference < 1e-5
    assert found.load_seconds > 1 and 0 < found.p50_ms <= found.p99_ms
    assert 1 <= found.requests <= 100
    assert 2e8 < found.peak_memory_bytes < 8e9  # TensorFlow alone takes some 4e8


def test_a_command_line_is_asked_by_rest_and_by_grpc(checked):
    found = checked(server=MODEL_SERVER)
    assert found.refusal is None
    assert found.protocols == ("REST", "gRPC")
    assert found.largest_difference < 1e-5
    assert found.server.startswith("env PYTHONPATH=")


def test_a_server_without_rest_is_asked_by_grpc_alone(checked, pictures):
    """And what it answers is compared: the second picture is said to have been another."""
    wrong = [pictures[0], pictures[1]._replace(probabilities=np.float32([0, 0, 1])), pictures[2]]
    words = tuple(word for word in MODEL_SERVER if "{rest_port}" not in word)
    found = checked(server=words, asked=wrong)
    assert found.protocols == ("gRPC",)
    assert found.refusal.startswith(
        "test picture picture 1 by gRPC got a probability that differs by "
    )
    assert found.largest_difference > 0.1


def test_a_damaged_model_is_refused_in_the_servers_words(checked, brightness_model, tmp_path):
    model = shutil.copytree(brightness_model, tmp_path / "model")
    next((model / "variables").glob("*.index")).write_bytes(b"")
    found = checked(model=model)
    assert found.refusal.startswith("the server ended with status 1 (error: Model ")
    assert found.load_seconds is None and found.peak_memory_bytes > 1e8


def test_a_model_over_the_bound_on_memory_is_refused(checked):
    found = checked(max_memory=0.15)
    assert found.refusal.endswith(
        "GB, more than infra.max_memory=0.15. Raise it, or take a smaller model."
    )
    assert found.peak_memory_bytes > 0.15e9


def test_memory_that_answers_take_counts_too(scripted, pictures):
    script = {"body": predictions(pictures[0].probabilities), "hog": 250_000_000}
    found = scripted(script, max_memory=0.2)
    assert "more than infra.max_memory=0.2" in found.refusal
    assert found.load_seconds is not None


def test_memory_that_is_taken_at_one_go_is_refused_to_the_server(scripted, pictures):
    """More than twice the bound, which no look at the resident memory would be in time for."""
    script = {"body": predictions(pictures[0].probabilities), "hog": 2_000_000_000}
    found = scripted(script, max_memory=0.2)
    assert "by REST was not answered" in found.refusal
    assert found.refusal.endswith("It ran with infra.max_memory=0.2.")
    assert found.peak_memory_bytes < 0.2e9


@pytest.mark.parametrize(
    ("row", "error", "said"),
    [
        ([0.25, 0.25, 0.25, 0.25], "", "got probabilities of shape (4,), not (3,)"),
        ([float("nan")] * 3, "", "got a probability that differs by nan"),
        ([0, 0, 0], "cannot see it", "was not read (cannot see it)"),
    ],
)
def test_other_answers_are_refused(scripted, row, error, said):
    found = scripted({"body": predictions(row, error)})
    assert found.refusal.startswith(f"test picture picture 0 by REST {said}")


def test_the_tolerance_is_the_bound(scripted, pictures):
    """All pictures get the answer to the first one, which is half a hundredth off."""
    off = pictures[0].probabilities + np.float32([0.005, -0.005, 0])
    script = {"body": predictions(off)}
    assert "differs by 0.005 from" in scripted(script, tolerance=0.004).refusal


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            {"status": 500, "body": '{"error": "no kernel"}'},
            "picture 0: predict_images by REST was refused with 500 (no kernel)",
        ),
        ({"body": "<html>"}, "by REST was answered with 200 and no predictions (<html>)"),
        ({"body": '{"predictions": []}'}, "by REST was answered with 200 and no predictions"),
        (
            {"state": "END", "error_message": "Op type not registered"},
            "the server cannot load it (Op type not registered)",
        ),
        ({"line": "no licence\x1b[2J", "ends": 7}, "ended with status 7 (no licence\\x1b[2J)"),
    ],
)
def test_a_server_that_does_not_serve_is_the_reason(scripted, script, said):
    found = scripted(script)
    assert said in found.refusal and "\n" not in found.refusal
    assert found.largest_difference in (None, 0.0)


def test_a_server_that_is_never_ready_is_ended_in_time(scripted):
    found = scripted({"state": "LOADING", "line": "waiting for a lock"}, seconds=1.5)
    assert found.refusal == (
        "it was not loaded and asked within infra.seconds=1.5 (waiting for a lock). Raise it, or "
        "look for what holds the server up."
    )


def test_a_program_that_is_not_there_is_no_verdict_on_the_model(checked):
    words = ("no_such_server", "{model_base_path}", "{rest_port}")
    with pytest.raises(UserError, match="No program 'no_such_server' of infra.server"):
        checked(server=words)


def test_a_program_that_cannot_be_executed_is_the_reason(checked, tmp_path):
    program = tmp_path / "server"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    found = checked(server=(str(program), "{model_base_path}", "{rest_port}"))
    assert found.refusal.startswith("the server ended with status 126 ([Errno 8] Exec format error")


def test_no_proxy_stands_between(scripted, pictures, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    same = [one._replace(probabilities=pictures[0].probabilities) for one in pictures]
    found = scripted({"body": predictions(pictures[0].probabilities)}, asked=same)
    assert found.refusal is None and found.largest_difference < 1e-6
