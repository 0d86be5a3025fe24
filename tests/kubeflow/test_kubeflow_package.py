"""The compiled package: what is in it, and that nothing is that a cluster cannot run."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from helpers.conditions import holds
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.trainer import execution

IMAGE = f"registry.example.com/inception-finetune@sha256:{'0' * 64}"
STORAGE = "s3://bucket/folder"
ENTRY_POINT = ["python", "-m", "inception_finetune.kubeflow.entrypoint"]
PARAMETERS = {
    "data": "STRING",
    "serving": "STRING",
    "training_steps": "NUMBER_INTEGER",
    "learning_rate": "NUMBER_DOUBLE",
    "min_accuracy": "NUMBER_DOUBLE",
}


@pytest.fixture(scope="module")
def overrides(standin, tmp_path_factory) -> list[str]:
    """Of the preset digits: a frozen trunk, so that every component is there."""
    folder = tmp_path_factory.mktemp("package")
    return [
        f"root={folder}/root",
        f"cache={folder}/cache",
        f"backbone.handle={standin}",
        "backbone.trainable_from=Mixed_7c",
        "feature_cache=true",
        f"kubeflow.image={IMAGE}",
        f"kubeflow.storage={STORAGE}",
        "kubeflow.environment.AWS_ENDPOINT_URL=http://minio:9000",
    ]


@pytest.fixture(scope="module")
def compiled(overrides, tmp_path_factory):
    """``compiled(*overrides, suffix)`` gives the file."""
    from inception_finetune.kubeflow.compile import compile_pipeline

    def call(*more: str, suffix: str = ".yaml") -> Path:
        path = tmp_path_factory.mktemp("compiled") / f"package{suffix}"
        compile_pipeline(load_config("digits", [*overrides, *more]), path)
        return path

    return call


@pytest.fixture(scope="module")
def path(compiled) -> Path:
    return compiled(
        "kubeflow.secrets.minio.accesskey=AWS_ACCESS_KEY_ID",
        "kubeflow.volumes.scratch=/scratch",
        "kubeflow.tasks.Evaluator.cpu=1.5",
        "kubeflow.tasks.Trainer={cpu: 8, memory: 30, accelerator: nvidia.com/gpu, accelerators: 1}",
    )


@pytest.fixture(scope="module")
def package(path) -> dict[str, Any]:
    return next(yaml.safe_load_all(path.read_text("utf-8")))


def tasks(package: dict[str, Any]) -> dict[str, Any]:
    return package["root"]["dag"]["tasks"]


def executor(package: dict[str, Any], name: str) -> dict[str, Any]:
    label = package["components"][name]["executorLabel"]
    return package["deploymentSpec"]["executors"][label]


def producers(task: dict[str, Any]) -> dict[str, str]:
    return {
        key: source["taskOutputArtifact"]["producerTask"]
        for key, source in task.get("inputs", {}).get("artifacts", {}).items()
    }


def faults(package: dict[str, Any]) -> list[str]:
    """What a cluster could not run, by task."""
    from tfx.dsl.components.base.base_executor import BaseExecutor
    from tfx.utils.import_utils import import_class_by_path

    from inception_finetune.kubeflow.parameters import resolve
    from inception_finetune.kubeflow.storage import PROTOCOLS

    found = []
    defaults = {
        name: parameter["defaultValue"]
        for name, parameter in package["root"]["inputDefinitions"]["parameters"].items()
    }
    for name, task in tasks(package).items():
        container = executor(package, name).get("container")
        if container is None:
            found.append(f"{name}: not a container")
            continue
        # Our entry point runs ExampleGen's driver and opens object stores; TFX's does neither.
        if container.get("command") != ENTRY_POINT:
            found.append(f"{name}: entry point {container.get('command')}")
        arguments = container["args"]
        try:
            path = arguments[arguments.index("--executor_class_path") + 1]
            if not issubclass(import_class_by_path(path), BaseExecutor):
                found.append(f"{name}: {path} is no executor")
        except (ImportError, AttributeError, ValueError) as error:
            found.append(f"{name}: {error}")
        given = {}
        for key, source in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in source:
                given[key] = defaults[source["componentInputParameter"]]
            else:
                given[key] = source["runtimeValue"]["constant"]
        for key, value in resolve(given).items():
            if not isinstance(value, str | int | float):
                found.append(f"{name}.{key}: {value!r} is no plain value")
            elif isinstance(value, str):
                if value.lstrip().startswith(("{", "[")):
                    try:
                        json.loads(value)
                    except ValueError as error:
                        found.append(f"{name}.{key}: {error}")
                for scheme in re.findall(r"\b(\w+)://", value):
                    if scheme not in PROTOCOLS:
                        found.append(f"{name}.{key}: {scheme}:// cannot be opened")
    return found


def test_kfp_reads_it_back(path, package):
    from kfp import components
    from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes
    from kfp.pipeline_spec import pipeline_spec_pb2

    loaded = components.load_component_from_file(str(path))
    assert loaded.pipeline_spec.pipeline_info.name == "digits"
    assert loaded.pipeline_spec.schema_version == "2.1.0"
    deployment = pipeline_spec_pb2.PipelineDeploymentConfig()
    json_format.ParseDict(
        json_format.MessageToDict(loaded.pipeline_spec.deployment_spec), deployment
    )
    assert deployment.executors["Trainer_executor"].container.image == IMAGE
    platform = loaded.platform_spec.platforms["kubernetes"].deployment_spec.executors
    assert set(platform) == {f"{name}_executor" for name in tasks(package)}
    config = json_format.ParseDict(
        json_format.MessageToDict(platform["Trainer_executor"]),
        kubernetes.KubernetesExecutorConfig(),
    )
    [secret] = config.secret_as_env
    assert (secret.secret_name, secret.key_to_env[0].env_var) == ("minio", "AWS_ACCESS_KEY_ID")
    assert config.pvc_mount[0].mount_path == "/scratch"


def test_pages_of_pipelines_are_given_what_they_can_draw(path):
    from kfp import components

    declared = components.load_component_from_file(str(path)).pipeline_spec.components
    drawn = {
        (name, key): output.artifact_type.schema_title
        for name, component in declared.items()
        for key, output in component.output_definitions.artifacts.items()
        if output.artifact_type.schema_title
    }
    assert drawn == {
        ("Evaluator", "metrics"): "system.Metrics",
        ("ModelReport", "confusion_matrix"): "system.ClassificationMetrics",
        ("ModelReport", "report_page"): "system.HTML",
    }


def test_components_and_edges(package):
    edges = {name: producers(task) for name, task in tasks(package).items()}
    assert edges["ImportExampleGen"] == edges["ImportSchemaGen"] == {}
    assert edges["TrunkFeatures"] == {
        "examples": "ImportExampleGen",
        "transform_graph": "Transform",
    }
    assert edges["Trainer"] == {
        "examples": "TrunkFeatures",
        "transform_graph": "Transform",
        "schema": "ImportSchemaGen",
    }
    assert edges["baseline"] == {"candidate": "Trainer"}
    assert edges["Evaluator"]["baseline_model"] == "baseline"
    assert edges["TestPredictions"]["incomparable_model"] == "baseline"
    assert edges["Evaluator"]["model"] == "Trainer"
    assert edges["InfraValidator"] == {
        "model": "Trainer",
        "examples": "ImportExampleGen",
        "predictions": "TestPredictions",
    }
    blessings = {"model_blessing": "Evaluator", "infra_blessing": "InfraValidator"}
    assert edges["Pusher"] == {"model": "Trainer", **blessings}
    assert "AnomalyGate" in tasks(package)["Transform"]["dependentTasks"]
    for name, task in tasks(package).items():
        assert set(edges[name].values()) <= set(task.get("dependentTasks", ()))


@pytest.mark.parametrize("blessed", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_pusher_runs_where_evaluator_and_infra_validator_have_blessed(package, blessed):
    condition = tasks(package)["Pusher"]["triggerPolicy"]["condition"]
    blessings = {
        key: {"artifacts": [{"metadata": {"blessed": value}}]}
        for key, value in zip(("model_blessing", "infra_blessing"), blessed, strict=True)
    }
    assert holds(condition, {"artifacts": blessings}) is (blessed == (1.0, 1.0))


def test_without_a_server_check_pusher_goes_by_evaluator_alone(compiled):
    package = next(yaml.safe_load_all(compiled("infra.server=none").read_text("utf-8")))
    assert "InfraValidator" not in tasks(package)
    assert "infra_blessing" not in tasks(package)["Pusher"]["triggerPolicy"]["condition"]
    assert producers(tasks(package)["Pusher"]).keys() == {"model", "model_blessing"}


def test_a_servers_command_line_reaches_the_task_as_it_is(compiled):
    """Its placeholders look like KFP's own."""
    from inception_finetune.kubeflow.parameters import resolve

    words = ["tensorflow_model_server", "--model_base_path={model_base_path}"]
    words += ["--rest_api_port={rest_port}", "--model_name={model_name}"]
    path = compiled(f"infra.server={json.dumps(words)}")
    given = tasks(next(yaml.safe_load_all(path.read_text("utf-8"))))["InfraValidator"]
    text = given["inputs"]["parameters"]["settings"]["runtimeValue"]["constant"]
    assert json.loads(resolve({"settings": text})["settings"])["infra"]["server"] == words


def test_a_package_with_exports_has_their_task_and_pushes_them(compiled):
    package = next(yaml.safe_load_all(compiled("export.formats=[onnx]").read_text("utf-8")))
    edges = {name: producers(task) for name, task in tasks(package).items()}
    assert edges["Export"] == {"examples": "ImportExampleGen", "model": "Trainer"}
    assert edges["Pusher"] == {
        "model": "Trainer",
        "model_blessing": "Evaluator",
        "infra_blessing": "InfraValidator",
        "exports": "Export",
    }
    assert edges["ModelReport"]["exports"] == "Export"
    assert "Export" in tasks(package)["Pusher"]["dependentTasks"]
    assert tasks(package)["Pusher"]["triggerPolicy"]["condition"]  # of the blessing, as without
    assert faults(package) == []
    given = tasks(package)["Export"]["inputs"]["parameters"]["settings"]
    assert json.loads(given["runtimeValue"]["constant"])["export"]["formats"] == ["onnx"]


def test_it_is_the_local_pipeline(package, overrides):
    """Every node that runs here runs there, under the same name."""
    from inception_finetune.pipeline.inputs import prepare_inputs
    from inception_finetune.pipeline.pipeline import create_pipeline

    config = load_config("digits", overrides)
    local = create_pipeline(config, prepare_inputs(config))
    assert {node.id for node in local.components} == set(tasks(package))


def test_parameters(package):
    declared = package["root"]["inputDefinitions"]["parameters"]
    assert {name: one["parameterType"] for name, one in declared.items()} == PARAMETERS
    values = {name: one["defaultValue"] for name, one in declared.items()}
    assert re.fullmatch(rf"{STORAGE}/data/digits-[0-9a-f]{{12}}", values.pop("data"))
    assert values == {
        "serving": f"{STORAGE}/serving/digits",
        "training_steps": 8 * (1294 // 32),
        "learning_rate": 0.001,
        "min_accuracy": 0.97,
    }
    takers = {
        name: {key for key in task.get("inputs", {}).get("parameters", {}) if key in PARAMETERS}
        for name, task in tasks(package).items()
    }
    assert takers["Trainer"] == {"data", "training_steps", "learning_rate"}
    assert takers["TrunkFeatures"] == {"data"}
    assert takers["Evaluator"] == {"min_accuracy"}
    assert takers["ModelReport"] >= {"min_accuracy", "training_steps", "learning_rate"}
    assert takers["Pusher"] == takers["baseline"] == {"serving"}


def test_a_parameter_reaches_the_executor(package):
    from inception_finetune.kubeflow.parameters import resolve

    given = tasks(package)["Trainer"]["inputs"]["parameters"]
    text = given["custom_config"]["runtimeValue"]["constant"]
    values = {"training_steps": 1500.0, "learning_rate": 1e-05, "data": "gs://bucket/other"}
    settings = json.loads(resolve({"custom_config": text, **values})["custom_config"])
    assert settings["training"]["steps"] == 1500
    assert settings["training"]["epochs"] is None
    assert settings["training"]["learning_rate"] == 1e-05
    assert settings["backbone_directory"] == "gs://bucket/other/backbone"


def test_a_bound_becomes_the_parameter_of_its_own_metric():
    """Bounds that the gate has no setting for, and those of a change, keep their value."""
    from inception_finetune.kubeflow.parameters import _with_placeholders, resolve

    def metric(name: str, **threshold: float) -> dict[str, Any]:
        return {
            "config": json.dumps({"name": name}),
            "per_slice_thresholds": [{"threshold": {"value_threshold": threshold}}],
        }

    metrics = [
        metric("accuracy", lower_bound=0.97),
        metric("accuracy", upper_bound=0.99),
        metric("top_2_accuracy", lower_bound=0.9),
        metric("cross_entropy", upper_bound=0.5),
        {"class_name": "ExampleCount"},
    ]
    placed = _with_placeholders(json.dumps({"metrics_specs": [{"metrics": metrics}]}))
    values = {"min_accuracy": 0.5, "min_top_2_accuracy": 0.6, "max_cross_entropy": 0.7}
    filled = json.loads(resolve({"config": placed, **values})["config"])
    thresholds = [
        bounded["threshold"]["value_threshold"]
        for metric in filled["metrics_specs"][0]["metrics"]
        for bounded in metric.get("per_slice_thresholds", ())
    ]
    assert thresholds == [
        {"lower_bound": 0.5},
        {"upper_bound": 0.99},
        {"lower_bound": 0.6},
        {"upper_bound": 0.7},
    ]
    other = json.dumps({"value_threshold": {"lower_bound": 0.9}})
    assert _with_placeholders(other) == other


def test_each_bound_of_the_gate_is_a_parameter_of_the_package(compiled):
    bounds = (
        *("gate.bounds.cross_entropy.at_most=0.5", "gate.bounds.cross_entropy.tolerance=0.1"),
        "gate.bounds.macro_f1.at_least=0.8",
    )
    package = yaml.safe_load(compiled(*bounds).read_text("utf-8").split("---\n")[0])
    inputs = package["root"]["inputDefinitions"]["parameters"]
    assert inputs["max_cross_entropy"] == {
        "parameterType": "NUMBER_DOUBLE",
        "defaultValue": 0.5,
        "description": "highest cross-entropy on test for a blessing",
        "isOptional": True,
    }
    assert inputs["min_macro_f1"]["defaultValue"] == 0.8
    assert "min_top_2_accuracy" not in inputs
    names = {"min_accuracy", "max_cross_entropy", "min_macro_f1"}
    for task in ("Evaluator", "ModelReport"):
        assert names <= set(tasks(package)[task]["inputs"]["parameters"])


@pytest.mark.parametrize("command", ["compile", "upload"])
def test_inputs_are_not_prepared_while_a_run_prepares_its_own(
    command, overrides, tmp_path, run_command
):
    from inception_finetune.pipeline.locks import pipeline_lock

    root, output = tmp_path / "root", tmp_path / "package.yaml"
    more = ["--output", output] if command == "compile" else ["--to", tmp_path / "there"]
    with pipeline_lock(root):
        status, out, err = run_command("kubeflow", command, *more, *overrides[1:], f"root={root}")
    assert (status, out) == (1, "")
    assert "one run at a time works in a pipeline's root" in err and err.count("\n") == 1
    assert {path.name for path in root.iterdir()} == {
        ".run.lock",
        ".run.pid",
    } and not output.exists()


def test_how_a_training_is_carried_out_is_in_no_cache_key(package, compiled):
    """A backend's key is what a task is given: its arguments, and not its environment."""
    changed = compiled("training.checkpoint_every=7", "kubeflow.work=/volume/work")
    other = yaml.safe_load(next(iter(changed.read_text("utf-8").split("---\n"))))
    assert tasks(other)["Trainer"]["inputs"] == tasks(package)["Trainer"]["inputs"]
    [how] = [
        one["value"]
        for one in executor(other, "Trainer")["container"]["env"]
        if one["name"] == execution.VARIABLE
    ]
    assert json.loads(how) == {"work": "/volume/work", "checkpoint_every": 7, "log_every": 10}


def test_data_with_other_labels_does_not_fit(package, overrides):
    from dataclasses import replace

    from inception_finetune.kubeflow.upload import schema_name
    from inception_finetune.pipeline.inputs import prepare_inputs

    inputs = prepare_inputs(load_config("digits", overrides))
    given = tasks(package)["ImportSchemaGen"]["inputs"]["parameters"]["schema_file"]
    expected = given["runtimeValue"]["constant"].rpartition("/")[2]
    assert expected == schema_name(inputs)
    assert expected != schema_name(replace(inputs, label_names=("cat", "dog")))


def test_containers(package):
    for name in tasks(package):
        container = executor(package, name)["container"]
        assert container["image"] == IMAGE
        environment = {one["name"]: one["value"] for one in container["env"]}
        how = environment.pop(execution.VARIABLE, None)
        assert environment == {"AWS_ENDPOINT_URL": "http://minio:9000"}
        assert (how is not None) == (name == "Trainer")
        assert "lifecycle" not in container
    resources = executor(package, "Trainer")["container"]["resources"]
    assert (resources["cpuRequest"], resources["memoryLimit"]) == (8, 30)
    assert resources["accelerator"] == {"type": "nvidia.com/gpu", "count": "1"}
    assert executor(package, "Evaluator")["container"]["resources"]["cpuLimit"] == 1.5
    # TFX itself drops them for this one.
    assert executor(package, "ImportExampleGen")["container"]["resources"]["memoryLimit"] == 8


def test_cache(package, compiled):
    cached = {name: task["cachingOptions"]["enableCache"] for name, task in tasks(package).items()}
    assert [name for name, enabled in cached.items() if not enabled] == ["baseline"]
    off = next(yaml.safe_load_all(compiled("kubeflow.caching=false").read_text("utf-8")))
    assert not any(task["cachingOptions"]["enableCache"] for task in tasks(off).values())


def test_a_warm_start_is_looked_up_by_a_task_of_its_own(compiled):
    package = next(
        yaml.safe_load_all(
            compiled("training.start_from=blessed", "training.cold_every=7").read_text("utf-8")
        )
    )
    task = tasks(package)["warm_start"]
    assert task["cachingOptions"] == {"enableCache": False}  # nothing tells what is pushed
    assert producers(tasks(package)["Trainer"])["base_model"] == "warm_start"
    assert not faults(package)
    given = task["inputs"]["parameters"]
    assert given["cold_every"]["runtimeValue"]["constant"] == 7
    settings = json.loads(given["settings"]["runtimeValue"]["constant"])
    assert settings.keys() == {"network", "backbone_fingerprint", "cut_before", "image_size"}
    assert settings["cut_before"] == "Mixed_7c"


def test_nothing_of_this_machine_is_in_it(path, overrides, standin):
    text = path.read_text("utf-8")
    for override in overrides[:3]:
        assert override.partition("=")[2] not in text


def test_a_cluster_can_run_it(package):
    assert faults(package) == []


def _set_class(package: dict[str, Any]) -> None:
    arguments = executor(package, "AnomalyGate")["container"]["args"]
    arguments[arguments.index("--executor_class_path") + 1] = "__main__.AnomalyGate_Executor"


def _set_value(package: dict[str, Any]) -> None:
    given = tasks(package)["Trainer"]["inputs"]["parameters"]["custom_config"]
    given["runtimeValue"]["constant"] = "{'training': <object>}"


def _set_resolver(package: dict[str, Any]) -> None:
    package["deploymentSpec"]["executors"]["baseline_executor"] = {"resolver": {}}


def _set_command(package: dict[str, Any]) -> None:
    del executor(package, "TrunkFeatures")["container"]["command"]


def _set_driver(package: dict[str, Any]) -> None:
    executor(package, "ImportExampleGen")["container"]["command"] = [
        "python",
        "-m",
        "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    ]


def _set_place(package: dict[str, Any]) -> None:
    package["root"]["inputDefinitions"]["parameters"]["data"]["defaultValue"] = "ftp://host/data"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_set_class, "AnomalyGate: "),
        (_set_value, "Trainer.custom_config: Expecting"),
        (_set_resolver, "baseline: not a container"),
        (_set_command, "TrunkFeatures: entry point None"),
        (_set_driver, "ImportExampleGen: entry point "),
        (_set_place, "ImportExampleGen.input_base: ftp:// cannot be opened"),
    ],
)
def test_what_breaks_on_clusters_is_seen(package, damage, said):
    damaged = copy.deepcopy(package)
    damage(damaged)
    assert any(fault.startswith(said) for fault in faults(damaged))


def test_vertex(compiled, package):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    path = compiled("kubeflow.storage=gs://bucket/folder", suffix=".json")
    job = json.loads(path.read_text("utf-8"))
    assert job["displayName"] == "digits"
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/folder/runs"
    assert set(job["pipelineSpec"]["root"]["dag"]["tasks"]) == set(tasks(package))
    assert faults(job["pipelineSpec"]) == []
    read = aiplatform.PipelineJob(
        display_name="digits",
        template_path=str(path),
        parameter_values={"training_steps": 100},
        project="project",
        location="us-central1",
        credentials=AnonymousCredentials(),
    )
    config = read._gca_resource.runtime_config
    assert config.gcs_output_directory == "gs://bucket/folder/runs"
    assert dict(config.parameter_values) == {"training_steps": 100}


@pytest.mark.parametrize(
    ("override", "suffix", "said"),
    [
        ("kubeflow.image=repository:latest", ".yaml", "is not pinned by its digest"),
        ("kubeflow.image=", ".yaml", "is not pinned by its digest"),
        ("kubeflow.storage=/home/me", ".yaml", "is not in an object store"),
        ("kubeflow.storage=", ".yaml", "is not in an object store"),
        ("kubeflow.tasks={Traner: {cpu: 1}}", ".yaml", "kubeflow.tasks: Traner."),
        ("kubeflow.caching=true", ".txt", "Give a .yaml for Kubeflow or a .json"),
        ("kubeflow.storage=s3://bucket", ".json", "Vertex AI cannot open kubeflow.storage"),
        ("kubeflow.volumes={claim: /data}", ".json", "Vertex AI cannot open kubeflow.storage"),
    ],
)
def test_refusals_leave_nothing(compiled, tmp_path, overrides, override, suffix, said):
    from inception_finetune.kubeflow.compile import compile_pipeline

    path = tmp_path / f"package{suffix}"
    with pytest.raises(UserError, match=re.escape(said)):
        compile_pipeline(load_config("digits", [*overrides, override]), path)
    assert not any(tmp_path.iterdir())


def test_a_tag_may_be_allowed(compiled):
    path = compiled("kubeflow.image=repository:tag", "kubeflow.allow_unpinned_image=true")
    assert executor(next(yaml.safe_load_all(path.read_text("utf-8"))), "Trainer")["container"][
        "image"
    ] == ("repository:tag")


def test_an_unknown_key_below_a_task_is_named():
    with pytest.raises(UserError, match="unknown key kubeflow.tasks.Trainer.cpus; did you mean"):
        load_config("digits", ["kubeflow.tasks.Trainer.cpus=2"])


def test_pods_get_what_operators_ask_for(compiled):
    from kfp import components
    from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes

    path = compiled(
        "kubeflow.node_selector={pool: gpu}",
        "kubeflow.tolerations=[{key: gpu, operator: Exists, effect: NoSchedule}]",
        "kubeflow.pull_secrets=[registry]",
        "kubeflow.retries=2",
        "kubeflow.timeout=7200",
    )
    loaded = components.load_component_from_file(str(path))
    tasks_of_run = loaded.pipeline_spec.root.dag.tasks
    assert {task.retry_policy.max_retry_count for task in tasks_of_run.values()} == {2}
    executors = loaded.platform_spec.platforms["kubernetes"].deployment_spec.executors
    assert len(executors) == len(tasks_of_run)
    for executor in executors.values():
        pod = json_format.ParseDict(
            json_format.MessageToDict(executor), kubernetes.KubernetesExecutorConfig()
        )
        assert dict(pod.node_selector.labels) == {"pool": "gpu"}
        [toleration] = pod.tolerations
        assert (toleration.key, toleration.operator, toleration.effect) == (
            *("gpu", "Exists", "NoSchedule"),
        )
        assert [secret.secret_name for secret in pod.image_pull_secret] == ["registry"]
        assert pod.security_context.run_as_non_root
        assert pod.active_deadline_seconds == 7200


def test_a_package_without_needs_of_pods_is_one_document(compiled):
    path = compiled("kubeflow.run_as_non_root=false")
    assert len(list(yaml.safe_load_all(path.read_text()))) == 1
