"""Places in an object store and their copies; what a task makes of the places it is given."""

import json
from pathlib import Path

import pytest
import s3fs

from helpers.object_store import BUCKET
from inception_finetune.components.errors import UserError
from inception_finetune.components.pusher.serving_folder import next_version
from inception_finetune.kubeflow import entrypoint, storage
from inception_finetune.kubeflow.upload import Upload, schema_name, upload
from inception_finetune.pipeline.inputs import Inputs

pytestmark = pytest.mark.usefixtures("working_directory")


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


@pytest.mark.parametrize("scheme", ["s3", "minio"])
def test_a_folder_comes_back(scheme, model, working_directory):
    place = f"{scheme}://{BUCKET}/comes-back/{scheme}"
    storage.store(model, place)
    assert storage.find(place) == ["saved_model.pb", "variables/variables.index"]
    copy = storage.fetch(place)
    assert copy == str(working_directory / scheme / BUCKET / "comes-back" / scheme)
    assert Path(copy, "variables", "variables.index").read_bytes() == b"index"
    written = Path(copy, "saved_model.pb").stat().st_mtime
    assert Path(storage.fetch(place), "saved_model.pb").stat().st_mtime == written
    assert storage.read(f"{place}/saved_model.pb") == b"graph"
    assert storage.read(f"{place}/nothing") is None
    assert storage.find(f"{place}-not") == []
    assert storage.remote_places(f'{{"uri": "{copy}"}}') == f'{{"uri": "{place}"}}'


def test_a_file_comes_back(model):
    place = f"s3://{BUCKET}/file/schema.pbtxt"
    storage.store_file(model / "saved_model.pb", place)
    assert Path(storage.fetch(place)).read_bytes() == b"graph"


def test_servers_see_the_graph_last(model, monkeypatch):
    order = []
    put = s3fs.S3FileSystem._put_file

    async def noted(self, path, target, *arguments, **named):
        order.append(Path(path).name)
        return await put(self, path, target, *arguments, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "_put_file", noted)
    storage.store(model, f"s3://{BUCKET}/order")
    assert order == ["variables.index", "saved_model.pb"]


@pytest.mark.parametrize(
    ("place", "said"),
    [(f"s3://{BUCKET}/nothing", "which a task reads"), ("s3://no-bucket/x", "no-bucket/x")],
)
def test_what_is_missing_is_named(place, said):
    with pytest.raises(UserError, match=said) as caught:
        storage.fetch(place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [storage.fetch, storage.find])
def test_a_key_that_leads_elsewhere_is_refused(read, monkeypatch, working_directory):
    place, key = f"s3://{BUCKET}/data/records", f"{BUCKET}/data/records/../../../../../pwned.txt"
    # Real stores differ in whether they take such a key.
    monkeypatch.setattr(s3fs.S3FileSystem, "find", lambda *_, **__: {key: {}})
    with pytest.raises(UserError, match=r"data/records is refused: its key '.*pwned.txt' leads"):
        read(place)
    assert not working_directory.exists()


def test_an_address_that_leads_elsewhere_is_refused():
    with pytest.raises(UserError, match="leads outside"):
        storage.fetch(f"s3://{BUCKET}/../../../elsewhere")


def test_a_store_that_is_not_there_is_one_line(monkeypatch, model):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)  # not five, with pauses
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL") as caught:
        storage.store(model, f"s3://{BUCKET}/refused")
    assert "\n" not in str(caught.value)


def test_an_upload_is_made_once_and_never_replaced(model, tmp_path):
    schema = tmp_path / "schema.pbtxt"
    schema.write_text("schema")
    inputs = Inputs(
        str(model), str(schema), ("a",), "inception_v3", str(model), "fingerprint", "", None
    )
    for place in (f"s3://{BUCKET}/upload", str(tmp_path / "volume")):
        assert upload(Upload(inputs, "1"), place, lambda part: None)
        assert not upload(Upload(inputs, "1"), place, lambda part: None)
        assert set(storage.find(place)) == {
            "backbone/saved_model.pb",
            "backbone/variables/variables.index",
            "complete.json",
            "records/saved_model.pb",
            "records/variables/variables.index",
            schema_name(inputs),
        }
        with pytest.raises(UserError, match="holds other data"):
            upload(Upload(inputs, "2"), place, lambda part: None)


def invoked(parameters: dict, executor: str = "tfx.components.trainer.executor.GenericExecutor"):
    """A task with these parameters and one input that no run before it made."""
    artifact = {"name": "1", "uri": f"s3://{BUCKET}/absent", "metadata": {"absent": 1.0}}
    logs = {"uri": f"s3://{BUCKET}/logs", "type": {"schemaTitle": "system.Artifact"}}
    made = {"uri": f"minio://{BUCKET}/run/model", "type": {"instanceSchema": "title: tfx.Model"}}
    task = entrypoint.Task(
        executor,
        {
            "inputs": {
                "parameterValues": parameters,
                "artifacts": {"baseline_model": {"artifacts": [artifact]}},
            },
            "outputs": {
                "artifacts": {
                    "executor-logs": {"artifacts": [logs]},
                    "model": {"artifacts": [made]},
                },
                "outputFile": f"s3://{BUCKET}/run/executor_output.json",
            },
        },
        {"parameters": {"settings": {}, "push_destination": {}}, "artifacts": {}},
    )
    task.fetch_inputs()
    task.prepare_outputs()
    return task


def test_a_task_reads_copies_of_the_data(model, working_directory):
    data = f"minio://{BUCKET}/task/data"
    storage.store(model, f"{data}/backbone")
    task = invoked(
        {
            "settings": json.dumps({"backbone": "{{$.inputs.parameters['data']}}/backbone"}),
            "data": data,
        }
    )
    inputs = task.invocation["inputs"]
    assert set(inputs["parameterValues"]) == {"settings"}  # the executor knows no `data`
    folder = json.loads(inputs["parameterValues"]["settings"])["backbone"]
    assert folder == str(working_directory / "minio" / BUCKET / "task" / "data" / "backbone")
    assert Path(folder, "saved_model.pb").read_bytes() == b"graph"


def test_a_mounted_volume_is_read_as_it_is(model):
    settings = '{"backbone": "{{$.inputs.parameters[\'data\']}}/backbone"}'
    task = invoked({"settings": settings, "data": str(model)})
    given = json.loads(task.invocation["inputs"]["parameterValues"]["settings"])
    assert given == {"backbone": f"{model}/backbone"}


def test_what_is_absent_or_not_ours_is_left_out(working_directory):
    task = invoked({})
    assert task.invocation["inputs"]["artifacts"] == {}
    assert set(task.invocation["outputs"]["artifacts"]) == {"model"}
    [made] = task.invocation["outputs"]["artifacts"]["model"]["artifacts"]
    assert made["uri"] == str(working_directory / "minio" / BUCKET / "run" / "model")
    assert Path(made["uri"]).is_dir()


def test_outputs_are_named_by_their_places(model):
    task = invoked({})
    [made] = task.invocation["outputs"]["artifacts"]["model"]["artifacts"]
    Path(made["uri"], "weights").write_bytes(b"1")
    said = {"artifacts": {"model": {"artifacts": [{"uri": made["uri"], "metadata": {"a": 1}}]}}}
    Path(task.invocation["outputs"]["outputFile"]).write_text(json.dumps(said))
    task.publish({"model": {"span": 0, "a": 0}})
    assert storage.read(f"minio://{BUCKET}/run/model/weights") == b"1"
    answer = json.loads(storage.read(f"s3://{BUCKET}/run/executor_output.json") or b"")
    [artifact] = answer["artifacts"]["model"]["artifacts"]
    # What the driver found out stays, and does not overwrite what the executor says.
    assert artifact == {
        "uri": f"minio://{BUCKET}/run/model",
        "metadata": {"span": 0, "a": 1},
    }


def test_code_that_is_not_in_the_image_is_one_line():
    with pytest.raises(UserError, match="nowhere.Executor") as caught:
        invoked({}, "nowhere.Executor")
    assert "\n" not in str(caught.value)


def pusher(serving: str) -> entrypoint.Task:
    destination = json.dumps({"filesystem": {"base_directory": serving}})
    return invoked(
        {"push_destination": destination, "serving": serving},
        "inception_finetune.components.pusher.component.Executor",
    )


def test_a_pusher_pushes_to_the_store(working_directory):
    serving = f"s3://{BUCKET}/serving/name"
    task = pusher(serving)
    given = json.loads(task.invocation["inputs"]["parameterValues"]["push_destination"])
    folder = Path(given["filesystem"]["base_directory"])
    assert folder == working_directory / "s3" / BUCKET / "serving" / "name"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "saved_model.pb").write_bytes(b"graph")
    Path(task.invocation["outputs"]["outputFile"]).write_text('{"artifacts": {}}')
    task.publish({})
    assert storage.find(serving) == ["1/saved_model.pb"]


def test_a_pusher_numbers_its_version_above_those_in_the_store(model, working_directory):
    serving = f"s3://{BUCKET}/serving/above"
    storage.store(model, f"{serving}/99999999999")  # by a clock that was fast
    task = pusher(serving)
    folder = working_directory / "s3" / BUCKET / "serving" / "above"
    assert next_version(folder) == 100000000000
    Path(task.invocation["outputs"]["outputFile"]).write_text('{"artifacts": {}}')
    task.publish({})
    assert storage.find(serving) == [
        "99999999999/saved_model.pb",
        "99999999999/variables/variables.index",
    ]
