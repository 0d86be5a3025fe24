"""Submitting to a cluster's API, following runs, and each failure of the API as one line."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.conditions import holds
from helpers.kfp_calls import TASKS, TOKEN, assert_one_line, nodes, write_package
from helpers.kfp_stub import Failure, Stub, serving
from inception_finetune.kubeflow import client as client_module
from inception_finetune.kubeflow import runs

pytestmark = pytest.mark.usefixtures("alone")

ALL_SUCCEEDED = dict.fromkeys(TASKS, "SUCCEEDED")
REFUSED = ALL_SUCCEEDED | {"Pusher": "SKIPPED"}


def test_a_first_submission_makes_all_that_a_run_needs(stub, call, package):
    status, out, err = call(
        *("submit", "--host", stub.address, "--package", package, "--pipeline-root", "s3://b/p"),
        *("--service-account", "trainer", "--run-name", "mine"),
        *("data=gs://b/d", "steps=7", "learning_rate=1e-4", "every_class=true", "classes=[1, 2]"),
    )
    assert (status, out, err) == (0, f"{stub.address}/#/runs/details/run-0\n", "")
    assert [e["display_name"] for e in stub.experiments] == ["digits"]
    assert [p["display_name"] for p in stub.pipelines] == ["digits"]
    assert [v["pipeline_spec"] for v in stub.versions] == [yaml.safe_load(package.read_text())]
    (run,) = stub.runs
    assert run["display_name"] == "mine"
    assert run["service_account"] == "trainer"
    assert run["runtime_config"] == {
        "pipeline_root": "s3://b/p",
        "parameters": {
            "data": "gs://b/d",
            "steps": 7,
            "learning_rate": 0.0001,
            "every_class": True,
            "classes": [1, 2],
        },
    }


def test_the_same_package_is_uploaded_once_and_a_changed_one_is_a_new_version(
    stub, call, package, tmp_path
):
    changed = write_package(tmp_path / "changed.yaml", image="image@sha256:2")
    for path in (package, package, changed):
        assert call("submit", "--host", stub.address, "--package", path, "data=x")[0] == 0
    assert (len(stub.experiments), len(stub.pipelines), len(stub.versions)) == (1, 1, 2)
    used = [run["pipeline_version_reference"]["pipeline_version_id"] for run in stub.runs]
    assert used == ["version-0", "version-0", "version-1"]
    assert len({version["display_name"] for version in stub.versions}) == 2


def test_without_a_package_the_configuration_is_compiled(stub, call, monkeypatch):
    compiled = []

    def compile_pipeline(config, output):
        compiled.append(config.name)
        write_package(output)

    monkeypatch.setattr("inception_finetune.kubeflow.compile.compile_pipeline", compile_pipeline)
    status, out, _ = call("submit", "--host", stub.address, "--config", "cifar10", "data=x")
    assert (status, out) == (0, f"{stub.address}/#/runs/details/run-0\n")
    assert compiled == ["cifar10"]


def test_who_asks_is_told_by_environment_flag_or_file_and_never_stored(
    stub, call, package, tmp_path, monkeypatch
):
    monkeypatch.setenv("KFP_ENDPOINT", stub.address)
    monkeypatch.setenv("KFP_EXISTING_TOKEN", TOKEN)
    assert call("submit", "--package", package, "data=x")[0] == 0
    assert stub.tokens == {f"Bearer {TOKEN}"}
    stub.tokens.clear()
    monkeypatch.delenv("KFP_EXISTING_TOKEN")
    assert call("list", "--token", TOKEN)[0] == 0
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert call("list", "--token-file", file)[0] == 0
    assert stub.tokens == {f"Bearer {TOKEN}"}


def test_nothing_is_stored_at_home(stub, tmp_path):
    """In a process of its own: KFP's client looks for the home folder when it is imported."""
    host = ("--host", stub.address)
    done = subprocess.run(
        [Path(sys.executable).parent / "inception-finetune", "kubeflow", "list", *host],
        env=os.environ | {"KFP_EXISTING_TOKEN": TOKEN},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert stub.tokens == {f"Bearer {TOKEN}"}
    assert list((tmp_path / "home").rglob("*")) == []


def test_many_users_on_one_cluster(call, package):
    with serving(Stub(multi_user=True)) as stub:
        assert_one_line(
            call("submit", "--host", stub.address, "--package", package, "data=x"),
            "keeps its users apart by namespaces",
            "KFP_NAMESPACE",
        )
        arguments = ("--host", stub.address, "--namespace", "kubeflow")
        assert call("submit", *arguments, "--package", package, "data=x")[0] == 0
        assert call("submit", *arguments, "--package", package, "data=x")[0] == 0
        assert (len(stub.experiments), len(stub.pipelines), len(stub.versions)) == (1, 1, 1)
        assert stub.experiments[0]["namespace"] == stub.pipelines[0]["namespace"] == "kubeflow"
        assert call("list", *arguments)[0] == 0


def submit_and_wait(stub, call, package) -> tuple[int, str, str]:
    return call("submit", "--host", stub.address, "--package", package, "--wait", "data=x")


def test_waiting_tells_each_change_and_ends_with_0_when_the_model_was_pushed(stub, call, package):
    stub.timeline = [
        ("PENDING", {}),
        ("RUNNING", nodes(ImportExampleGen="SUCCEEDED") | {"Trainer-driver": "RUNNING"}),
        ("RUNNING", nodes(ImportExampleGen="SUCCEEDED", Trainer="RUNNING")),
        ("SUCCEEDED", nodes(**ALL_SUCCEEDED)),
    ]
    status, out, err = submit_and_wait(stub, call, package)
    assert (status, out) == (0, f"{stub.address}/#/runs/details/run-0\n")
    assert err.splitlines() == [
        "ImportExampleGen: succeeded, 45 s",
        "Trainer: starting",
        "Trainer: running",
        "Trainer: succeeded, 45 s",
        "Evaluator: succeeded, 45 s",
        "Pusher: succeeded, 45 s",
    ]


def test_a_refused_model_ends_with_3(stub, call, package):
    stub.timeline = [("SUCCEEDED", nodes(**REFUSED))]
    status, _, err = submit_and_wait(stub, call, package)
    assert status == 3
    assert err.splitlines()[-1] == (
        "not blessed, not pushed: the logs of Evaluator and InfraValidator have the reasons: "
        f"{stub.address}/#/runs/details/run-0"
    )


def test_a_failed_run_ends_with_1_and_names_the_task(stub, call, package):
    # Argo leaves out what depends on a failed task; the API calls such a node unspecified.
    failed = {"ImportExampleGen": "SUCCEEDED", "Trainer": "FAILED"}
    left_out = {"Evaluator-driver": "RUNTIME_STATE_UNSPECIFIED"}
    stub.timeline = [("FAILED", nodes(**failed) | left_out)]
    status, out, err = submit_and_wait(stub, call, package)
    assert (status, out) == (1, f"{stub.address}/#/runs/details/run-0\n")
    assert "Evaluator: not run" in err.splitlines()
    assert err.splitlines()[-1].startswith("error: Run failed in Trainer. Read the log at http")


def test_a_driver_that_fails_is_its_task_failing(stub, call, package):
    broken = {"ImportExampleGen-driver": "FAILED", "ImportExampleGen": "RUNTIME_STATE_UNSPECIFIED"}
    stub.timeline = [("FAILED", nodes() | broken)]
    status, _, err = submit_and_wait(stub, call, package)
    assert status == 1
    assert "Run failed in ImportExampleGen. Read the log" in err


def test_a_canceled_run_ends_with_1(stub, call, package):
    stub.timeline = [("CANCELED", nodes(ImportExampleGen="FAILED"))]
    status, _, err = submit_and_wait(stub, call, package)
    assert status == 1 and "error: Run was canceled" in err


def test_a_run_that_does_not_show_pusher_is_not_called_pushed(stub, call, package):
    stub.timeline = [("SUCCEEDED", nodes(ImportExampleGen="SUCCEEDED"))]
    status, _, err = submit_and_wait(stub, call, package)
    assert status == 1 and "the API does not report Pusher's state" in err


def test_waiting_outlasts_an_api_that_is_away_for_a_while(stub, call, package):
    stub.timeline = [("RUNNING", nodes()), ("SUCCEEDED", nodes(**ALL_SUCCEEDED))]
    stub.failures["GET .*/runs/"] = Failure(503, b"upstream connect error", "text/plain", times=3)
    assert submit_and_wait(stub, call, package)[0] == 0
    assert stub.looks == 2


def test_ctrl_c_ends_the_waiting_and_not_the_run(stub, call, package, monkeypatch):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.time, "sleep", interrupt)
    stub.timeline = [("RUNNING", nodes(ImportExampleGen="RUNNING"))]
    status, out, err = submit_and_wait(stub, call, package)
    assert (status, out) == (130, f"{stub.address}/#/runs/details/run-0\n")
    assert err.splitlines()[0] == "ImportExampleGen: running" and "Traceback" not in err
    assert stub.requests[-1] == ("GET", "/runs/run-0")


def test_waiting_gives_up_when_the_token_is_no_longer_good(stub, call, package):
    stub.failures["GET .*/runs/"] = Failure(401, b'{"message": "expired"}')
    status, _, err = submit_and_wait(stub, call, package)
    assert status == 1 and ": 401 expired. Give a valid token" in err


@pytest.mark.parametrize("platform", [None, {"platforms": {"kubernetes": {}}}])
def test_status_shows_the_tasks_in_their_order(stub, call, package, platform):
    if platform:  # as volumes and secrets make it
        package.write_text(f"{package.read_text()}---\n{yaml.safe_dump(platform)}")
    assert call("submit", "--host", stub.address, "--package", package, "data=x")[0] == 0
    stub.timeline = [("RUNNING", nodes(ImportExampleGen="SUCCEEDED", Trainer="RUNNING"))]
    status, out, err = call("status", "run-0", "--host", stub.address)
    assert (status, err) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in out.splitlines()]
    assert [row for row in rows if row] == [
        ["ImportExampleGen", "succeeded"],
        ["Trainer", "running"],
        ["Evaluator", "waiting"],
        ["Pusher", "waiting"],
    ]
    assert out.splitlines()[-1] == f"{stub.address}/#/runs/details/run-0"


def test_status_can_be_waited_for_as_well(submitted, call):
    submitted.timeline = [("RUNNING", nodes()), ("SUCCEEDED", nodes(**REFUSED))]
    assert call("status", "run-0", "--wait", "--host", submitted.address)[0] == 3
    status, out, _ = call("status", "run-0", "--host", submitted.address)
    assert status == 0 and "not blessed, not pushed" in out


def test_ids_in_the_list_are_not_folded(submitted, call, monkeypatch):
    identity = "0f3c1a52-8a4e-4c0e-9d1f-5b6a7c8d9e0f"
    submitted.runs[0] |= {"run_id": identity, "display_name": 60 * "long name "}
    for columns in ("80", "40"):
        monkeypatch.setenv("COLUMNS", columns)
        status, out, _ = call("list", "--host", submitted.address)
        assert status == 0
        assert sum(identity in line for line in out.splitlines()) == 1


def test_list_shows_the_newest_runs(submitted, call):
    submitted.runs[0]["finished_at"] = "2026-03-01T12:06:30+00:00"
    submitted.runs[0]["state"] = "SUCCEEDED"
    status, out, _ = call("list", "--host", submitted.address, "--experiment", "digits")
    (row,) = [line for line in out.splitlines() if "run-0" in line]
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    assert status == 0
    assert (cells[0], cells[2], cells[4]) == ("run-0", "succeeded", "6.5")
    assert_one_line(
        call("list", "--host", submitted.address, "--experiment", "other"), "name other."
    )


@pytest.mark.parametrize(
    ("failure", "parts"),
    [
        (
            Failure(401, b'{"message": "no {authorization}"}'),
            ["POST /apis/v2beta1/runs", "401 no Bearer [token]", "Give a valid token"],
        ),
        (Failure(403, b'{"error": "not in ns"}'), ["403 not in ns", "--namespace"]),
        (Failure(404, b'{"message": "no such\\nthing"}'), ["404 no such thing", "Check the name"]),
        (Failure(409, b'{"message": "taken"}'), ["409 taken", "give another name"]),
        (Failure(500, b'{"message": "disk"}'), ["500 disk", "log of the cluster's ml-pipeline"]),
        (Failure(502, b"<html>", "text/html"), ["502 Bad Gateway. Try again"]),
        (Failure(200, b"<html>login", "text/html"), ["text/html instead of JSON", "login page"]),
        (Failure(200, b"", "text/plain"), ["text/plain instead of JSON", "Check --host"]),
        (
            Failure(302, headers={"Location": "https://sso.example/auth?state=secret"}),
            ["POST /apis/v2beta1/runs to https://sso.example/auth. ", "login page"],
        ),
        (
            Failure(hang=True),
            ["did not answer POST /apis/v2beta1/runs: Read timed out", "Check --host"],
        ),
    ],
    ids=lambda value: f"{value.status} {value.kind}" if isinstance(value, Failure) else "",
)
def test_each_failure_of_the_api_is_one_line(stub, call, package, monkeypatch, failure, parts):
    monkeypatch.setattr(client_module, "READ_SECONDS", 1.5)
    monkeypatch.setenv("KFP_EXISTING_TOKEN", TOKEN)
    stub.failures["POST .*/runs$"] = failure
    result = call("submit", "--host", stub.address, "--package", package, "data=x")
    assert_one_line(result, *parts)
    assert "state=secret" not in result[2]
    assert stub.requests.count(("POST", "/runs")) == 1


def test_an_api_that_fails_at_once_is_asked_once(stub, call):
    """KFP's own client tries five times, five seconds apart, and logs a traceback for each."""
    stub.failures["healthz"] = Failure(401, b'{"message": "who?"}')
    assert_one_line(call("list", "--host", stub.address), "401 who?")
    assert stub.requests == [("GET", "/healthz")]


def test_nobody_answers(call):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert_one_line(call("list", "--host", f"http://127.0.0.1:{port}"), "refused", "port-forward")
    assert_one_line(call("list", "--host", "http://nowhere.invalid"), "Check --host")


def test_a_server_without_the_tls_that_was_asked_for(stub, call):
    assert_one_line(
        call("list", "--host", stub.address.replace("http:", "https:")), "certificate", "--ca-cert"
    )


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["list"], ["No address of Kubeflow Pipelines", "KFP_ENDPOINT"]),
        (["list", "--host", "kubeflow"], ["http:// or https://", "--host kubeflow."]),
        (["list", "--host", f"http://me:{TOKEN}@h"], ["--host http://h."]),
        (
            ["list", "--host", "http://h", "--token", TOKEN, "--token-file", "f"],
            [
                "--token and --token-file",
                "Give only one of --token, --token-file, --iap-client-id.",
            ],
        ),
        (["list", "--host", "http://h", "--token-file", "gone"], ["--token-file gone: No such"]),
        (["list", "--host", "http://h", "--ca-cert", "gone"], ["--ca-cert gone: No such"]),
    ],
)
def test_a_wrong_connection(call, arguments, parts):
    assert_one_line(call(*arguments), *parts)


def test_iap_without_a_service_account(call, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/gone.json")
    monkeypatch.setenv("KFP_IAP_CLIENT_ID", "client")
    assert_one_line(call("list", "--host", "http://h"), "service account", "its key file")


@pytest.mark.parametrize(
    ("assignments", "parts"),
    [
        (["data"], ["'data' is not KEY=VALUE", "classes, data, every_class, learning_rate, steps"]),
        (["data=x", "epochs=3"], ["Unknown parameter epochs", "compile -o FILE.yaml epochs=3"]),
        (["data=x", "steps=many"], ["steps=many is not a whole number"]),
        (["data=x", "classes=1,"], ["classes=1, is not JSON"]),
        (["data=x", "every_class=yes"], ["every_class=yes is not true or false"]),
        ([], ["No value for data,", "Give data=VALUE"]),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_sent(
    stub, call, package, assignments, parts
):
    result = call("submit", "--host", stub.address, "--package", package, *assignments)
    assert_one_line(result, *parts)
    assert stub.requests == []


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("gone.yaml", None, "No such file"),
        ("job.json", "{}", "does not end in .yaml"),
        ("notes.yaml", "a: 1", "kubeflow compile -o"),
        ("broken.yaml", "a: [", "kubeflow compile -o"),
    ],
)
def test_a_wrong_package(call, tmp_path, name, content, part):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert_one_line(call("submit", "--host", "http://h", "--package", path), str(path), part)


@pytest.mark.parametrize(("blessed", "runs_pusher"), [(1.0, True), (0.0, False)])
def test_pusher_runs_where_the_model_is_blessed(package, blessed, runs_pusher):
    """As KFP's driver decides it: the condition, in CEL, over the task's ExecutorInput."""
    spec = yaml.safe_load(package.read_text())
    condition = spec["root"]["dag"]["tasks"]["Pusher"]["triggerPolicy"]["condition"]
    artifact = {"name": "1", "uri": "gs://b/blessing", "metadata": {"blessed": blessed}}
    blessing = {"artifacts": {"model_blessing": {"artifacts": [artifact]}}}
    assert holds(condition, blessing) is runs_pusher


def test_the_package_says_where_artifacts_go(stub, call, package):
    call("submit", "--host", stub.address, "--package", package, "data=gs://b/d")
    (run,) = stub.runs
    assert run["runtime_config"]["pipeline_root"] == "gs://bucket/root"
