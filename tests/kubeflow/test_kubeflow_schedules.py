"""Recurring runs: how one is made of a package, and changed, and each wrong use as one line."""

import pytest
import yaml

from helpers.kfp_calls import assert_one_line
from helpers.kfp_stub import Failure, Stub, serving
from inception_finetune.components.errors import UserError
from inception_finetune.kubeflow.schedules import six_fields


@pytest.fixture
def schedule(stub, call, package):
    """``schedule(*arguments)`` submits the package as a recurring run."""

    def run(*arguments: object) -> tuple[int, str, str]:
        return call("submit", "--host", stub.address, "--package", package, "data=x", *arguments)

    return run


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("  */15  8-18/2 * * mon-FRI ", "0 */15 8-18/2 * * mon-FRI"),
        ("30 0 3 1,15 jan-jun,12 ?", "30 0 3 1,15 jan-jun,12 ?"),
        ("5/20 0 29 2 *", "0 5/20 0 29 2 *"),
        ("0 0 31 2 sun", "0 0 0 31 2 sun"),  # Sundays of February as well
    ],
)
def test_seconds_are_put_before_five_fields(given, fields):
    assert six_fields(given) == fields


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "0 fields"),
        ("@daily", "1 fields"),
        ("0 3 * *", "4 fields"),
        ("0 0 3 * * * *", "7 fields"),
        ("60 3 * * *", "minute 60 is not in 0-59"),
        ("0 24 * * *", "hour 24 is not in 0-23"),
        ("0 3 0 * *", "day of the month 0 is not in 1-31"),
        ("0 3 * 13 *", "month 13 is not in 1-12"),
        ("0 3 * * 7", "day of the week, 0 for Sunday, 7 is not in 0-6"),
        ("0 3 * mon *", "month cannot be 'mon'"),
        ("0 5-3 * * *", "hour 5-3 is not in 0-23"),
        ("0 */0 * * *", "hour */0 has no step"),
        ("0 3,, * * *", "hour cannot be ''"),
        ("0 3; * * *", "hour cannot be '3;'"),
        ("0 -3 * * *", "hour cannot be '-3'"),
        ("0 3 30 2 *", "a day that no month has"),
        ("0 3 31 4,6 *", "a day that no month has"),
    ],
)
def test_what_is_no_cron_expression(given, why):
    with pytest.raises(UserError) as caught:
        six_fields(given)
    assert str(caught.value).startswith(f"Invalid --cron {given!r}: {why}. Give five fields")


def test_a_recurring_run_is_made_of_what_a_run_is_made_of(stub, schedule):
    status, out, err = schedule(
        *("--cron", "0 3 * * *", "--service-account", "trainer", "learning_rate=0.1")
    )
    assert (status, out) == (0, f"{stub.address}/#/recurringrun/details/recurring_run-0\n")
    assert err.splitlines() == [
        "cron of Kubeflow, seconds first: 0 0 3 * * *, in the time zone of the cluster (UTC, "
        "unless its operator has set CRON_SCHEDULE_TIMEZONE)"
    ]
    assert stub.runs == []
    (made,) = stub.recurring_runs
    assert made["display_name"] == "digits"
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert (made["max_concurrency"], made["no_catchup"], made["mode"]) == ("1", True, "ENABLE")
    assert made["service_account"] == "trainer"
    assert made["runtime_config"] == {
        "pipeline_root": "gs://bucket/root",
        "parameters": {"data": "x", "learning_rate": 0.1},
    }
    assert made["pipeline_version_reference"]["pipeline_version_id"] == "version-0"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ([], "each run reads the newest upload of digits that is there when it starts"),
        (["span=7"], "each run reads the newest upload of span 7 of digits that is there when "),
        (["data=s3://b/x", "span=7"], "each run reads s3://b/x, whatever is uploaded later"),
    ],
)
def test_of_a_package_of_spans_it_is_said_what_each_run_reads(stub, call, package, given, line):
    content = yaml.safe_load(package.read_text())
    parameters = content["root"]["inputDefinitions"]["parameters"]
    parameters["span"] = {"parameterType": "STRING", "defaultValue": "newest"}
    parameters["data"]["defaultValue"] = ""
    package.write_text(yaml.safe_dump(content))
    arguments = ("submit", "--host", stub.address, "--package", package)
    status, _, err = call(*arguments, "--cron", "0 3 * * *", *given)
    assert status == 0
    _, said = err.splitlines()
    assert said.startswith(line)
    (made,) = stub.recurring_runs
    assert made["runtime_config"].get("parameters", {}) == dict(
        assignment.split("=") for assignment in given
    )
    assert call(*arguments, *given)[2] == ""  # one run is no recurring one


def test_catching_up_and_several_at_once_must_be_asked_for(stub, schedule):
    cron = ("--cron", "0 0 3 * * *")
    assert schedule(*cron, "--catch-up", "--max-concurrency", 3, "--run-name", "nightly")[0] == 0
    (made,) = stub.recurring_runs
    assert (made["display_name"], made["max_concurrency"]) == ("nightly", "3")
    assert made["no_catchup"] is False


def test_a_second_recurring_run_of_a_name_is_refused_before_anything_is_made(stub, schedule):
    assert schedule("--cron", "0 3 * * *")[0] == 0
    stub.requests.clear()
    status, out, err = schedule("--cron", "0 4 * * *")
    assert (status, out, len(stub.recurring_runs)) == (1, "", 1)
    assert "error: Recurring run digits exists already: recurring_run-0. Remove it" in err
    assert "POST" not in {method for method, _ in stub.requests}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--cron", "0 25 * * *"], "Invalid --cron '0 25 * * *': hour 25 is not in 0-23. Give"),
        (["--cron", "0 3 * * *", "--wait"], "--wait follows one run, and --cron starts none now."),
        (["--catch-up"], "--max-concurrency and --catch-up are of recurring runs. Give --cron"),
        (["--max-concurrency", "1"], "--max-concurrency and --catch-up are of recurring runs."),
    ],
)
def test_wrong_options_are_refused_before_anything_is_sent(stub, schedule, arguments, part):
    assert_one_line(schedule(*arguments), part)
    assert stub.requests == []


@pytest.fixture
def three(stub, schedule):
    """Recurring runs of three names, of which one is named like another's id."""
    for name in ("hourly", "nightly", "recurring_run-0"):
        assert schedule("--cron", "0 3 * * *", "--run-name", name)[0] == 0
    return stub


def rows(out: str) -> list[list[str]]:
    cells = [[cell.strip() for cell in line.split("│")[1:5]] for line in out.splitlines()]
    return [row for row in cells if row]


def test_all_pages_are_listed(three, call):
    status, out, err = call("schedule", "list", "--host", three.address)
    assert (status, err) == (0, "")
    assert rows(out) == [
        ["recurring_run-0", "hourly", "0 0 3 * * *", "active"],
        ["recurring_run-1", "nightly", "0 0 3 * * *", "active"],
        ["recurring_run-2", "recurring_run-0", "0 0 3 * * *", "active"],
    ]


def test_pause_resume_and_delete_by_name_or_id(three, call):
    host = ("--host", three.address)
    assert call("schedule", "pause", "nightly", *host) == (
        *(0, "paused: nightly (recurring_run-1)\n", ""),
    )
    assert [one["mode"] for one in three.recurring_runs] == ["ENABLE", "DISABLE", "ENABLE"]
    assert rows(call("schedule", "list", *host)[1])[1][3] == "paused"
    status, out, _ = call("schedule", "resume", "recurring_run-1", *host)
    assert (status, out) == (0, "resumed: nightly (recurring_run-1)\n")
    assert [one["mode"] for one in three.recurring_runs] == ["ENABLE", "ENABLE", "ENABLE"]
    assert call("schedule", "delete", "nightly", *host)[1] == "deleted: nightly (recurring_run-1)\n"
    assert [one["display_name"] for one in three.recurring_runs] == ["hourly", "recurring_run-0"]


def test_unknown_and_ambiguous_names_are_one_line(three, call):
    host = ("--host", three.address)
    for command in ("pause", "resume", "delete"):
        assert_one_line(
            call("schedule", command, "weekly", *host),
            "No recurring run of the name or id weekly. See `kubeflow schedule list`.",
        )
        assert_one_line(
            call("schedule", command, "recurring_run-0", *host),
            "2 recurring runs have the name recurring_run-0. Give one of recurring_run-0, ",
        )
    assert len(three.recurring_runs) == 3


def test_a_recurring_run_that_the_api_refuses_is_one_line(stub, schedule):
    stub.failures["POST .*/recurringruns$"] = Failure(400, b'{"message": "not a supported format"}')
    status, out, err = schedule("--cron", "0 3 * * *")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == (
        "error: Kubeflow's API refused POST /apis/v2beta1/recurringruns: 400 not a supported "
        "format. Correct what it names."
    )


def test_of_many_users_the_namespace_is_asked(call, package):
    with serving(Stub(multi_user=True)) as stub:
        host = ("--host", stub.address, "--namespace", "team")
        cron = ("--cron", "0 3 * * *")
        assert call("submit", *host, "--package", package, *cron, "data=x")[0] == 0
        assert call("schedule", "pause", "digits", *host)[0] == 0
        assert stub.recurring_runs[0]["mode"] == "DISABLE"
