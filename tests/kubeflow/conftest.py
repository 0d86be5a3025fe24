"""An object store on this machine's loopback, as MinIO is to a cluster, and KFP's stubbed API."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.kfp_calls import TOKEN, write_package
from helpers.kfp_stub import Stub, serving
from helpers.object_store import BUCKET

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


@pytest.fixture(scope="session")
def object_store() -> Iterator[dict[str, str]]:
    """The environment by which it is found; it is empty but for one bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "replay",
        "AWS_SECRET_ACCESS_KEY": "replay",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="replay",
        aws_secret_access_key="replay",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=BUCKET)
    yield environment
    server.stop()


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
