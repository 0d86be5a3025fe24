import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.failure import as_user_error, user_error
from inception_finetune.pipeline.locks import cache_lock, pipeline_lock

HOLD = """
import sys, time
from pathlib import Path
from inception_finetune.pipeline.locks import pipeline_lock
with pipeline_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_root_in_use_is_refused_with_the_process_that_uses_it(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=f"in use by process {holder.pid}:"),
            pipeline_lock(tmp_path),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with pipeline_lock(tmp_path):  # the dead process holds nothing
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


HOLD_TURN = """
import sys
from pathlib import Path
from inception_finetune.pipeline.locks import cache_lock
with cache_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_processes_fetch_into_a_cache_one_after_another(tmp_path, capfd):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_TURN, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        threading.Timer(0.3, holder.stdin.close).start()
        with cache_lock(tmp_path):
            assert time.monotonic() - started >= 0.3
    assert capfd.readouterr().err == f"waiting for another process that fetches into {tmp_path}\n"


def test_a_cache_that_cannot_be_written_needs_no_turn(tmp_path):
    (tmp_path / "file").touch()
    entered = []
    with cache_lock(tmp_path / "file/cache"):
        entered.append(True)
    assert entered


def test_a_beam_workers_user_error_is_found_in_what_beam_quotes():
    quoted = RuntimeError("Traceback\ncomponents.errors.UserError: mend it [while running 'x']\n")
    assert str(user_error(quoted)) == "mend it"
    assert str(user_error(UserError("mend it [while running 'x']"))) == "mend it"
    with pytest.raises(UserError, match="^mend it$"), as_user_error():
        raise UserError("mend it [while running 'x']")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "/x/y"), "Free space"),
        (RuntimeError("ResourceExhaustedError: /x/y; No space left on device"), "Free space"),
        (OSError(30, "Read-only file system", "/x/y"), "can be written"),
        (OSError(2, "No such file or directory", "/x/y"), "Run again"),
        (OSError("SavedModel file does not exist at: /x/y"), "Run again"),
        (RuntimeError("query: database disk image is malformed"), "Restore metadata.sqlite"),
        (RuntimeError("Concurrent writes aborted after max number of retries."), "End the other"),
    ],
)
def test_a_failure_of_the_system_is_one_line_with_its_words_and_a_mend(error, told):
    with pytest.raises(UserError, match=told) as failure, as_user_error():
        raise ValueError("while running") from error
    assert "\n" not in str(failure.value)
    assert str(error).rpartition(": ")[2].rstrip(".") in str(failure.value)
    assert ".." not in str(failure.value)


def test_a_transaction_that_a_full_disk_has_undone_is_told_without_its_statement():
    error = RuntimeError("query: cannot commit - no transaction is active query: COMMIT;")
    told = str(user_error(error))
    assert "cannot commit - no transaction is active. Free space, or" in told


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        (
            "Not a valid TFRecord. Fewer than 1356 bytes: b'0ac5" + "0a" * 900,
            "A TFRecord file is damaged",
        ),
        ("Error parsing message with type 'tensorflow.Example' [while running 'x']", "tf.train.Ex"),
        (
            'Feature had wrong type, expected int64_list for "image/class/label"',
            "another type than the schema",
        ),
        ("No files found based on the file pattern /x/test-*.tfrecord", "A split has no files"),
    ],
)
def test_records_that_no_conversion_checked_are_one_short_line(told, rule):
    with pytest.raises(UserError, match=f"{rule}.*dataset.archive") as failure, as_user_error():
        raise ValueError(told)
    assert len(str(failure.value)) < 400


def test_an_error_of_ours_is_not_hidden(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), as_user_error():
        raise ZeroDivisionError


def test_a_job_that_a_cluster_gave_up_is_one_line():
    failed = RuntimeError(
        "Pipeline BeamApp-1 failed in state FAILED: "
        "org.apache.flink.runtime.JobException: Recovery is suppressed\n at Scheduler.java"
    )
    told = str(user_error(failed))
    reason = "org.apache.flink.runtime.JobException: Recovery is suppressed"
    assert f"A step on the Beam engine ended FAILED: {reason}" in told
    assert "\n" not in told and "run again" in told


def test_a_workers_exception_is_what_is_said_of_a_failed_job():
    failed = RuntimeError(
        "Pipeline BeamApp-1 failed in state FAILED: java.lang.RuntimeException: Error received "
        "from SDK harness for instruction 3: Traceback (most recent call last):\n"
        '  File "a.py", line 1, in f\n    raise ValueError("x")\nValueError: no such shape\n'
        "  at Java.java"
    )
    assert "ended FAILED: ValueError: no such shape. See" in str(user_error(failed))
