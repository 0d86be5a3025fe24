"""Which upload the runs of a package of spans read, in an object store and in the package."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import s3fs
from kfp import components

from helpers.colour_pictures import write_colours
from helpers.object_store import BUCKET
from inception_finetune.components.dataset.manifest import Manifest, Settings, Shard, write_manifest
from inception_finetune.components.errors import UserError
from inception_finetune.kubeflow import storage, window
from inception_finetune.kubeflow.upload import Upload, upload
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.inputs import Inputs

pytestmark = pytest.mark.usefixtures("working_directory")

BACKBONE = "b" * 64


@pytest.fixture
def compiled_for(tmp_path) -> window.CompiledFor:
    """Of this test's own place in the store."""
    return window.CompiledFor(
        uploads=f"s3://{BUCKET}/{tmp_path.name}/data",
        name="birds",
        label_names=("robin", "wren"),
        backbone_fingerprint=BACKBONE,
        epochs=3,
        batch_size=8,
    )


@pytest.fixture
def put(compiled_for, tmp_path):
    """``put(digit, *spans)`` uploads a window and gives its address."""

    def call(
        digit: str,
        *spans: str,
        labels: tuple[str, ...] = ("robin", "wren"),
        backbone: str = BACKBONE,
        name: str = "birds",
    ) -> str:
        folder = tmp_path / f"inputs-{digit}"
        folder.mkdir(exist_ok=True)
        manifest = Manifest(
            converter_version=1,
            fingerprint=digit,
            settings=Settings(0.2, 0, 100),
            label_names=labels,
            shards={"train": (Shard("train-0.tfrecord", 42, 1, ""),)},
            spans=dict.fromkeys(spans, 21),
        )
        write_manifest(manifest, folder)
        (folder / "schema.pbtxt").write_text("schema")
        inputs = Inputs(
            records=str(folder),
            schema_file=str(folder / "schema.pbtxt"),
            label_names=labels,
            network="inception_v3",
            backbone=str(folder),
            backbone_fingerprint=backbone,
            serving="",
            metadata=None,
            spans=manifest.spans,
        )
        place = f"{compiled_for.uploads}/{name}-{digit * 12}"
        upload(Upload(inputs, digit * 64), place, lambda part: None)
        return place

    return call


def chosen(
    compiled_for: window.CompiledFor, span: str = "newest", **values: Any
) -> dict[str, object]:
    given = {"package": compiled_for.model_dump_json(), "data": "", "training_steps": 0.0}
    return window.choose_window(given | {"span": span} | values)


def test_the_newest_span_is_read_and_not_the_last_upload(compiled_for, put, capsys):
    put("1", "2026-11-26", "2026-11-27")
    newest = put("2", "2026-11-27", "2026-11-28 (version 2)")
    put("3", "2026-11-25", "2026-11-26")
    assert chosen(compiled_for) == {"data": newest, "training_steps": 3 * (42 // 8)}
    assert capsys.readouterr().out == (f"{newest}: 2 spans, 2026-11-27 to 2026-11-28 (version 2)\n")


def test_an_older_span_is_read_by_its_name(compiled_for, put):
    older = put("1", "2026-11-26", "2026-11-27")
    put("2", "2026-11-27", "2026-11-28")
    assert chosen(compiled_for, "2026-11-27")["data"] == older


def test_spans_may_be_numbers(compiled_for, put):
    ninth, tenth = put("1", "8", "9"), put("2", "9", "10")
    assert chosen(compiled_for)["data"] == tenth  # not "9", the last as a text
    assert chosen(compiled_for, "0009")["data"] == ninth


def test_the_last_upload_of_a_span_is_read(compiled_for, put):
    first = put("f", "2026-11-28")
    late = put("0", "2026-11-28")
    assert chosen(compiled_for, "2026-11-28")["data"] == chosen(compiled_for)["data"] == late
    assert put("f", "2026-11-28") == first  # what came late was withdrawn again
    assert chosen(compiled_for, "2026-11-28")["data"] == chosen(compiled_for)["data"] == first


def test_what_is_not_whole_or_of_another_pipeline_is_not_read(compiled_for, put):
    whole = put("1", "2026-11-27")
    broken = put("2", "2026-11-28")
    s3fs.S3FileSystem().rm(f"{broken}/complete.json")
    put("3", "2026-11-29", name="birds-of-prey")
    put("4", "2026-11-30", name="my-birds")
    assert chosen(compiled_for)["data"] == whole


def test_uploads_that_do_not_say_their_span_are_counted(compiled_for, put, capsys):
    whole = put("1", "2026-11-27")
    older = put("2", "2026-11-28")
    storage.write(json.dumps({"digest": "2" * 64}).encode(), f"{older}/complete.json")
    put("3")  # of no spans
    assert chosen(compiled_for)["data"] == whole
    said, _ = capsys.readouterr().out.splitlines()
    assert said.startswith("passed over, as they do not say their newest span: 2 uploads of birds.")
    put("2", "2026-11-28")  # again: its files are there, and its marker says what it did not
    assert chosen(compiled_for)["data"] == older


def test_an_upload_that_the_store_does_not_show_is_not_passed_over(compiled_for, put, monkeypatch):
    put("1", "2026-11-27")
    hidden = put("2", "2026-11-28")
    cat_file = s3fs.S3FileSystem._cat_file

    async def refuse(self, path, *arguments, **named):
        if f"s3://{path}" == f"{hidden}/complete.json":
            raise PermissionError("Access Denied")
        return await cat_file(self, path, *arguments, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_file", refuse)
    assert refusal(compiled_for).startswith(f"No access to {compiled_for.uploads}: Access Denied.")


def test_a_later_upload_of_the_same_window_copies_nothing(compiled_for, put, monkeypatch):
    place = put("1", "2026-11-27")
    before = json.loads(storage.read(f"{place}/complete.json") or b"")
    assert before.keys() == {"digest", "span", "uploaded", "backbone_fingerprint"}
    assert (before["digest"], before["span"]) == ("1" * 64, "2026-11-27")
    monkeypatch.setattr(storage, "store", lambda *_: pytest.fail("copied"))
    put("1", "2026-11-27")
    after = json.loads(storage.read(f"{place}/complete.json") or b"")
    assert after.pop("uploaded") > before.pop("uploaded")
    assert after == before


def test_data_that_is_given_wins(compiled_for, put, capsys):
    older = put("1", "2026-11-27")
    put("2", "2026-11-28")
    assert chosen(compiled_for, "no span", data=f"{older}/")["data"] == older
    with pytest.raises(UserError, match=r"Nothing at s3://.*/nothing/records/manifest.json"):
        chosen(compiled_for, data=f"{compiled_for.uploads}/nothing")


def test_steps_that_are_given_win(compiled_for, put):
    put("1", "2026-11-27")
    assert chosen(compiled_for, training_steps=7.0)["training_steps"] == 7
    few = compiled_for.model_copy(update={"batch_size": 64})
    with pytest.raises(UserError, match="Train split of 42 examples does not fill one batch"):
        chosen(few)


def refusal(*arguments: Any, **values: Any) -> str:
    with pytest.raises(UserError) as caught:
        chosen(*arguments, **values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_span_without_an_upload_is_refused_with_those_that_are_there(compiled_for, put):
    start = f"No upload of birds with span=newest in {compiled_for.uploads}: those that are whole"
    assert refusal(compiled_for).startswith(f"{start} and say their newest span have none. Run")
    for digit, day in zip("0123456789ab", range(11, 23), strict=True):
        put(digit, f"2026-11-{day}")
    said = refusal(compiled_for, "2026-11-10")
    days = ", ".join(f"2026-11-{day}" for day in range(22, 12, -1))
    assert f"their newest span have {days} and 2 older ones. Run `kubeflow upload`" in said
    assert refusal(compiled_for, "yesterday").startswith("span=yesterday is no name of a span.")


def test_an_upload_that_the_package_was_not_compiled_for_is_refused(compiled_for, put):
    put("1", "2026-11-27", labels=("crow", "robin", "wren"))
    said = refusal(compiled_for)
    assert "has other classes than the package: with crow. Compile the package again" in said
    put("2", "2026-11-28", labels=("wren", "robin"))
    assert "than the package: the same in another order. Compile" in refusal(compiled_for)
    place = put("3", "2026-11-29", backbone="c" * 64)
    said = refusal(compiled_for)
    assert said.startswith(f"{place} has another backbone than the package: cccccccccccc, not bbbb")


@pytest.mark.parametrize("scheme", ["", f"s3://{BUCKET}"])
def test_the_task_writes_what_kfps_launcher_reads(
    compiled_for, put, scheme, tmp_path, monkeypatch, capsys
):
    put("1", "2026-11-27")
    values = {"package": compiled_for.model_dump_json(), "data": "", "span": "newest"}
    file = f"{scheme}{tmp_path}/kfp_outputs/output_metadata.json"
    given = {
        "inputs": {"parameterValues": values | {"training_steps": 0}},
        "outputs": {"outputFile": file},
    }
    monkeypatch.setattr(sys, "argv", ["window", "--executor_input", json.dumps(given)])
    window.main()
    place = f"{compiled_for.uploads}/birds-111111111111"
    assert json.loads(storage.read(file) or b"") == {
        "parameterValues": {"data": place, "training_steps": 15}
    }
    given["inputs"]["parameterValues"]["span"] = "2026-11-28"
    monkeypatch.setattr(sys, "argv", ["window", "--executor_input", json.dumps(given)])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="1"):
        window.main()
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: No upload of birds with span=2026-11-28 in ")
    assert err.count("\n") == 1


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> list[str]:
    """Overrides of a small network over two days, whose runs start from what serves."""
    folder = tmp_path_factory.mktemp("days")
    write_colours(folder / "golden", 9, 4, "cat", "dog")
    for day in (1, 2):
        write_colours(folder / f"days/2026-11-0{day}", day, 10, "cat", "dog")
    return [
        *(f"root={folder}/root", f"cache={folder}/cache"),
        f"dataset.spans={folder}/days/{{YYYY}}-{{MM}}-{{DD}}",
        *(f"dataset.golden={folder}/golden", "image.size=32", "training.start_from=blessed"),
        *("training.batch_size=8", "kubeflow.storage=s3://bucket/folder"),
        f"kubeflow.image=registry.example.com/image@sha256:{'0' * 64}",
        "kubeflow.retries=2",
    ]


@pytest.fixture(scope="module")
def spec(days, tmp_path_factory):
    """The package as KFP reads it."""
    from inception_finetune.kubeflow.compile import compile_pipeline

    path = tmp_path_factory.mktemp("compiled") / "package.yaml"
    compile_pipeline(load_config("scratch_cnn", days), path)
    return components.load_component_from_file(str(path)).pipeline_spec


def test_a_package_of_spans_has_the_parameter(spec):
    declared = spec.root.input_definitions.parameters
    assert declared["span"].default_value.string_value == "newest"
    assert declared["data"].default_value.string_value == ""
    assert declared["training_steps"].default_value.number_value == 0
    assert all(one.is_optional for one in declared.values())


def test_one_task_looks_and_is_never_cached(spec):
    from kfp.pipeline_spec import pipeline_spec_pb2

    tasks = spec.root.dag.tasks
    task, component = tasks["window"], spec.components["window"]
    assert not task.caching_options.enable_cache and not task.dependent_tasks
    assert tasks["Trainer"].caching_options.enable_cache
    assert task.retry_policy.max_retry_count == 2
    text = pipeline_spec_pb2.ParameterType.STRING
    whole = pipeline_spec_pb2.ParameterType.NUMBER_INTEGER
    outputs = component.output_definitions.parameters
    assert {name: one.parameter_type for name, one in outputs.items()} == {
        "data": text,
        "training_steps": whole,
    }
    executor = spec.deployment_spec["executors"][component.executor_label]["container"]
    assert list(executor["command"]) == ["python", "-m", "inception_finetune.kubeflow.window"]
    assert list(executor["args"]) == ["--executor_input", "{{$}}"]
    assert executor["resources"]["memoryLimit"] == 8
    given = task.inputs.parameters
    assert {name: one.component_input_parameter for name, one in given.items()} == {
        **{name: name for name in ("data", "span", "training_steps")},
        "package": "",
    }
    package = json.loads(given["package"].runtime_value.constant.string_value)
    assert package["label_names"] == ["cat", "dog"]
    assert (package["uploads"], package["name"]) == ("s3://bucket/folder/data", "scratch-cnn")


def test_all_tasks_are_given_what_that_one_found(spec):
    """So they agree on one folder, and Kubeflow's cache goes by it."""
    takers: dict[str, set[str]] = {"data": set(), "training_steps": set()}
    for name, task in spec.root.dag.tasks.items():
        for key, source in task.inputs.parameters.items():
            if name != "window" and key in takers:
                produced = source.task_output_parameter
                assert (produced.producer_task, produced.output_parameter_key) == ("window", key)
                assert "window" in task.dependent_tasks
                takers[key].add(name)
            assert source.component_input_parameter != "span" or name == "window"
    assert takers["data"] == {"ImportExampleGen", "ImportSchemaGen", "Trainer"}
    assert takers["training_steps"] == {"Trainer", "ModelReport"}


def test_no_day_and_no_place_of_this_machine_is_compiled_into_the_package(spec, days):
    """The day would be that of the compilation, whatever a run reads."""
    text = str(spec)
    assert "{YYYY}-{MM}-{DD}" in text and "2026-11-0" not in text
    assert str(Path(days[2].partition("=")[2]).parents[1]) not in text


def test_upload_and_look_up_meet(days, run_command):
    config = [*days, f"kubeflow.storage=s3://{BUCKET}/meet"]
    status, out, _ = run_command("kubeflow", "upload", "--config=scratch_cnn", *config)
    assert status == 0
    marker = json.loads(storage.read(f"{out.strip()}/complete.json") or b"")
    assert marker["span"] == "2026-11-02"
    package = window.CompiledFor(
        uploads=f"s3://{BUCKET}/meet/data",
        name="scratch-cnn",
        label_names=("cat", "dog"),
        backbone_fingerprint=marker["backbone_fingerprint"],
        epochs=1,
        batch_size=8,
    )
    assert chosen(package)["data"] == out.strip()
    assert Path(storage.fetch(f"{out.strip()}/records/manifest.json")).exists()
