"""What was removed, damaged or is in use is told in one line, and nothing is opened."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from inception_finetune.components.errors import UserError
from inception_finetune.components.steps import Step
from inception_finetune.components.test_predictions.store import read_predictions
from inception_finetune.pipeline.history.review import report_page
from inception_finetune.pipeline.history.runs import Run


def run_with(step: Step, key: str, uri: Path) -> Run:
    artifacts: dict[tuple[str, str], proto.Artifact] = {(step, key): proto.Artifact(uri=str(uri))}
    return Run(1, "run", datetime.now(UTC), (), artifacts, None, None)


def test_a_report_that_was_cleaned_is_not_opened(tmp_path):
    run = run_with(Step.MODEL_REPORT, "model_report", tmp_path / "gone")
    with pytest.raises(UserError, match=r"ModelReport of run 1 is gone: .*/gone was removed"):
        report_page(run)
    (tmp_path / "gone").mkdir()
    with pytest.raises(UserError, match=r"report.html of run 1 is gone"):
        report_page(run)


def test_predictions_that_were_cleaned_are_not_compared(tmp_path):
    run = run_with(Step.TEST_PREDICTIONS, "predictions", tmp_path / "gone")
    with pytest.raises(UserError, match=r"TestPredictions of run 1 is gone"):
        run.uri(Step.TEST_PREDICTIONS, "predictions")
    (tmp_path / "gone").mkdir()
    with pytest.raises(UserError, match=r"No predictions in .*/gone: its files were removed"):
        read_predictions(str(tmp_path / "gone"))


@pytest.mark.parametrize("command", [["review"], ["review", "1"], ["clean"]])
@pytest.mark.parametrize("metadata", ["damaged", "folder"])
def test_metadata_that_cannot_be_read(run_command, tmp_path, command, metadata):
    file = tmp_path / "metadata.sqlite"
    file.mkdir() if metadata == "folder" else file.write_bytes(b"no database" * 500)
    status, out, err = run_command(*command, f"root={tmp_path}")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "metadata.sqlite" in err and err.startswith("error: The system failed a step: ")


def test_a_port_in_use(run_command, tmp_path):
    (tmp_path / "artifacts/Trainer/model_run/1/validation").mkdir(parents=True)
    (tmp_path / "artifacts/Trainer/model_run/2").write_text("no folder")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, _, err = run_command(
            "tensorboard", "--host", "127.0.0.1", "--port", port, f"root={tmp_path}"
        )
    assert status == 1
    assert err.splitlines()[-1].startswith(f"error: TensorBoard cannot serve on 127.0.0.1:{port}")
    status, _, err = run_command("tensorboard", "--port", "99999", f"root={tmp_path}")
    assert status == 2 and "65535" in err
