"""A URL with a password or a signature is fetched as it is given, and never written down so."""

import json
import urllib.parse

import pytest

from helpers.made_archives import made_members, write_archive
from helpers.web_server import serving
from inception_finetune.components.backbone import module
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_set import convert_dataset, fetch_archive
from inception_finetune.pipeline.inputs import Inputs

SECRET, SIGNATURE = "S3CRET", "S1GNATURE" * 40  # longer than a file's name may be
URL = f"http://alice:{SECRET}@host.invalid/plain.tar.gz?X-Amz-Signature={SIGNATURE}"
PUBLIC = "http://host.invalid/plain.tar.gz"


def is_clean(text: str) -> bool:
    return SECRET not in text and SIGNATURE[:9] not in text


def test_the_configuration_keeps_it_and_writes_it_without():
    config = load_config("digits", [f"dataset.archive={URL}", f"backbone.handle={URL}"])
    assert config.dataset.archive == config.backbone.handle == URL
    assert config.model_dump()["dataset"]["archive"] == PUBLIC
    assert json.loads(config.model_dump_json())["backbone"]["handle"] == PUBLIC


def test_no_step_of_the_pipeline_is_told():
    from inception_finetune.pipeline.pipeline import create_pipeline

    config = load_config("digits", [f"dataset.archive={URL}", f"backbone.handle={URL}"])
    inputs = Inputs("records", "schema", ("a", "b"), "inception_v3", "module", "", "x", None)
    told = [str(step.exec_properties) for step in create_pipeline(config, inputs).components]
    assert any(PUBLIC in one for one in told) and all(map(is_clean, told))


@pytest.fixture
def server(tmp_path):
    archive = write_archive(tmp_path / "made.tar.gz", made_members())
    with serving(archive.read_bytes()) as server:
        yield server


def with_secrets(address: str) -> str:
    host = urllib.parse.urlsplit(address).netloc
    return f"http://alice:{SECRET}@{host}/plain.tar.gz?X-Amz-Signature={SIGNATURE}"


def test_a_presigned_address_is_fetched(server, tmp_path):
    config = load_config(
        "digits",
        [f"dataset.archive={with_secrets(server.address)}", f"cache={tmp_path / 'cache'}"],
    )
    assert fetch_archive(config).read_bytes() == server.content
    assert SIGNATURE in server.paths[0] and "Basic" in server.requests[0]["Authorization"]
    convert_dataset(config, tmp_path / "records")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(is_clean(f"{path} {path.read_text('latin-1')}") for path in written)
    server.statuses = [404] * 2
    for path in (tmp_path / "cache/archives").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="404") as held:
        fetch_archive(config)
    assert is_clean(str(held.value))


def test_an_archive_that_changed_is_converted_again(server, tmp_path, capsys):
    config = load_config("digits", [f"dataset.archive={server.url}", f"cache={tmp_path / 'cache'}"])
    first = convert_dataset(config, tmp_path / "records")
    members = made_members()
    members["test_batch"]["labels"][0] = 1 - members["test_batch"]["labels"][0]
    server.content = write_archive(tmp_path / "other.tar.gz", members).read_bytes()
    server.etag = '"two"'
    assert convert_dataset(config, tmp_path / "records").fingerprint != first.fingerprint
    assert f"{server.url} has changed since" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["plain.tar.gz", "feature_vector/5"])
def test_of_a_module_neither_pin_nor_message_tells(server, tmp_path, path):
    handle = with_secrets(server.address).replace("plain.tar.gz", path)
    with pytest.raises(UserError, match="has no saved_model.pb at its top") as held:
        module.resolve(handle, tmp_path / "cache")
    assert is_clean(str(held.value))
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert all(is_clean(f"{path} {path.read_text('latin-1')}") for path in files)
