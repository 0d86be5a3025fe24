"""KFP's stubbed API, an object store, and an environment without this machine's own settings."""

from pathlib import Path

import pytest
import s3fs

from helpers.kfp_calls import TOKEN, write_package
from helpers.kfp_stub import Stub, serving

OUR_VARIABLES = (
    "KFP_ENDPOINT",
    "KFP_NAMESPACE",
    "KFP_EXISTING_TOKEN",
    "KFP_IAP_CLIENT_ID",
    "KFP_SSL_CA_CERT",
    "KF_PIPELINES_ENDPOINT",
    "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID",
    "KF_PIPELINES_SA_TOKEN_PATH",
    "GOOGLE_APPLICATION_CREDENTIALS",
)


@pytest.fixture
def alone(tmp_path, monkeypatch) -> None:
    """Nothing of this machine's own settings, and a home that shows what is stored in it."""
    for name in OUR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    from inception_finetune.kubeflow import runs

    monkeypatch.setattr(runs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(runs, "MAX_PAUSE_SECONDS", 0.01)


@pytest.fixture
def working_directory(object_store, monkeypatch, tmp_path) -> Path:
    """Of copies from the store, for this test alone; and the store's address and keys."""
    for name, value in object_store.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    s3fs.S3FileSystem.clear_instance_cache()
    return tmp_path / "tmp" / "inception-finetune"


@pytest.fixture
def stub():
    with serving(Stub()) as running:
        yield running


@pytest.fixture
def call(run_command, alone):
    """``call(*arguments)`` runs ``inception-finetune kubeflow`` and gives (status, out, err)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status, out, err = run_command("kubeflow", *arguments)
        assert TOKEN not in out + err
        return status, out, err

    return run


@pytest.fixture
def package(tmp_path) -> Path:
    return write_package(tmp_path / "pipeline.yaml")


@pytest.fixture
def submitted(stub, call, package) -> Stub:
    assert call("submit", "--host", stub.address, "--package", package, "data=x")[0] == 0
    return stub
