"""Logs of tasks: which pod is asked for, what is shown, and what is said where there is none."""

from types import SimpleNamespace

import pytest

from helpers.kfp_calls import TOKEN, assert_one_line, nodes
from helpers.kfp_stub import Failure, Stub, serving
from inception_finetune.kubeflow.logs import task_pods

# Argo's numbers of digits-x7k2p.root.TASK.executor, of its tries, and of root.TASK-driver.
IMPORT, TRAINER, FIRST_TRY, SECOND_TRY, EVALUATOR_DRIVER = (
    *("1842351090", "2918164958", "3649608845", "764108640", "1297400892"),
)
CHILDREN = {
    "digits-x7k2p": ["digits-x7k2p-2500"],
    "ImportExampleGen": [f"digits-x7k2p-{IMPORT}"],
    "Trainer": [f"digits-x7k2p-{TRAINER}"],
}
IMPORT_POD = f"digits-x7k2p-system-container-impl-{IMPORT}"
TRAINER_POD = f"digits-x7k2p-system-container-impl-{TRAINER}"
WEB = "GET /k8s/pod/logs"
API = "GET /apis/v1alpha1"


@pytest.fixture
def started(submitted) -> Stub:
    """A run of which two tasks have started."""
    return start(submitted)


def start(stub: Stub) -> Stub:
    stub.timeline = [("RUNNING", nodes(ImportExampleGen="SUCCEEDED", Trainer="RUNNING"))]
    stub.children = dict(CHILDREN)
    stub.logs = {IMPORT_POD: "read 1,797 records\n", TRAINER_POD: "epoch 1\nepoch 2"}
    return stub


def run_of(*children: str) -> SimpleNamespace:
    node = SimpleNamespace(child_tasks=[SimpleNamespace(pod_name=child) for child in children])
    return SimpleNamespace(run_details=SimpleNamespace(task_details=[node]))


def test_the_pod_is_named_as_on_a_real_cluster():
    """The driver's pod outer-pipeline-sq9vj-system-container-driver-3067012875, of KFP 2.8."""
    run = run_of("outer-pipeline-sq9vj-3067012875")
    assert task_pods(run, ["inner", "outer-comp"]) == {
        "outer-comp": "outer-pipeline-sq9vj-system-container-driver-3067012875"
    }


def test_the_last_try_of_a_task_is_taken():
    ids = [f"digits-x7k2p-{number}" for number in (TRAINER, FIRST_TRY, SECOND_TRY)]
    for last, found in (("", ids[:1]), (FIRST_TRY, ids[:2]), (SECOND_TRY, ids)):
        expected = f"retry-system-container-impl-{last}" if last else TRAINER_POD[13:]
        assert task_pods(run_of(*found), ["Trainer"]) == {"Trainer": f"digits-x7k2p-{expected}"}


def test_the_log_of_a_task(started, call):
    result = call("logs", "run-0", "Trainer", "--host", started.address)
    assert result == (0, "epoch 1\nepoch 2\n", "")


def test_the_logs_of_all_tasks_that_have_started(started, call):
    status, out, err = call("logs", "run-0", "--host", started.address)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "==> ImportExampleGen <==",
        "read 1,797 records",
        "==> Trainer <==",
        "epoch 1",
        "epoch 2",
    ]


def test_a_task_whose_inputs_could_not_be_resolved_shows_its_drivers_log(started, call):
    started.children["root"] = [f"digits-x7k2p-{EVALUATOR_DRIVER}"]
    pod = f"digits-x7k2p-system-container-driver-{EVALUATOR_DRIVER}"
    started.logs[pod] = "no artifact model"
    result = call("logs", "run-0", "Evaluator", "--host", started.address)
    assert result == (0, "no artifact model\n", "")


def test_escapes_and_bytes_that_are_no_text_are_shown(started, call):
    started.logs[TRAINER_POD] = "\x1b[2J\x1b]0;title\x07\r\nstep\tloss\nerror: \udcff\u202e\n"
    status, out, _ = call("logs", "run-0", "Trainer", "--host", started.address)
    assert status == 0
    assert out.splitlines() == [
        "\\x1b[2J\\x1b]0;title\\x07",
        "step    loss",
        "error: �\\u202e",
    ]


def test_a_long_log_keeps_its_characters_whole(started, call):
    started.logs[TRAINER_POD] = "".join(f"{number} größe €\n" for number in range(20_000))
    status, out, _ = call("logs", "run-0", "Trainer", "--host", started.address)
    assert status == 0 and out == started.logs[TRAINER_POD]


def test_without_a_web_server_the_api_server_is_asked(started, call):
    started.failures[WEB] = Failure(404, b"404 page not found", "text/plain")
    result = call("logs", "run-0", "Trainer", "--host", started.address)
    assert result == (0, "epoch 1\nepoch 2\n", "")
    assert started.requests[-1] == ("GET", f"/apis/v1alpha1/runs/run-0/nodes/{TRAINER_POD}/log")


def test_where_there_is_no_log_the_command_of_kubectl_is_named(started, call):
    started.failures[WEB] = Failure(404, b"pod not found", "text/plain")
    started.failures[API] = Failure(200, b"<html>the pages", "text/html")
    kubectl = f"kubectl --namespace kubeflow logs {TRAINER_POD} --container main"
    result = call("logs", "run-0", "Trainer", "--host", started.address)
    assert_one_line(
        result,
        "error: No log of Trainer (a task from the cache has none): Kubeflow's API refused GET "
        "/k8s/pod/logs: 404 Not Found. ",
    )
    assert result[2].endswith(f"Or ask Kubernetes, as long as it has the pod: {kubectl}\n")


def test_of_all_tasks_those_without_a_log_are_named(started, call):
    started.failures[WEB] = Failure(500, b"", "text/plain", times=1)
    started.failures[API] = Failure(404, b"", "text/plain", times=1)
    status, out, err = call("logs", "run-0", "--host", started.address)
    assert status == 0
    assert out.splitlines() == ["==> Trainer <==", "epoch 1", "epoch 2"]
    assert err.startswith("No log of ImportExampleGen (a task") and err.count("\n") == 1
    started.failures = {WEB: Failure(500, b""), API: Failure(404, b"")}
    status, out, err = call("logs", "run-0", "--host", started.address)
    assert (status, out, err.count("\n")) == (1, "", 3)
    assert err.splitlines()[-1].startswith("error: No log of any task in run run-0: ")


def test_a_page_to_log_in_is_no_log(started, call):
    started.failures[WEB] = Failure(200, b"<html>login", "text/html")
    started.failures[API] = Failure(200, b"<html>login", "text/html")
    assert_one_line(
        call("logs", "run-0", "Trainer", "--host", started.address), "text/html instead of text"
    )


def test_the_token_is_in_no_log(started, call):
    started.logs[TRAINER_POD] = f"who asks: {TOKEN}\n"
    status, out, _ = call("logs", "run-0", "Trainer", "--host", started.address, "--token", TOKEN)
    assert (status, out) == (0, "who asks: [token]\n")
    assert f"Bearer {TOKEN}" in started.tokens


def test_a_connection_that_breaks_within_a_log_is_one_line(started, call):
    started.failures[WEB] = Failure(200, b"epoch 1\n", "text/plain", {"Content-Length": "100"})
    status, out, err = call("logs", "run-0", "Trainer", "--host", started.address)
    assert (status, out) == (1, "epoch 1\n")
    assert err.startswith("error: Kubeflow's API did not answer GET /k8s/pod/logs: ")
    assert err.count("\n") == 1


def test_unknown_and_waiting_tasks_are_one_line(started, call):
    host = ("--host", started.address)
    assert_one_line(
        call("logs", "run-0", "Trainr", *host),
        "No task Trainr in run run-0. Give one of ImportExampleGen, Trainer, Evaluator, Pusher.",
    )
    assert_one_line(
        call("logs", "run-0", "Pusher", *host),
        "No log of Pusher in run run-0: it has not started. See `kubeflow status run-0`.",
    )
    started.timeline = [("PENDING", {})]
    assert_one_line(call("logs", "run-0", *host), "No log of any task in run run-0: it has not")


def test_of_many_users_the_namespace_is_asked_and_named(call, package):
    with serving(Stub(multi_user=True)) as stub:
        host = ("--host", stub.address, "--namespace", "team")
        assert call("submit", *host, "--package", package, "data=x")[0] == 0
        start(stub)
        assert call("logs", "run-0", "Trainer", *host)[1] == "epoch 1\nepoch 2\n"
        stub.failures = {WEB: Failure(500, b""), API: Failure(404, b"")}
        assert "kubectl --namespace team logs" in call("logs", "run-0", "Trainer", *host)[2]
