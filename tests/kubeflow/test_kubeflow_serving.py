"""Manifests that a cluster takes, and requests that a pushed model answers as `predict` does."""

import base64
import json
from pathlib import Path
from types import SimpleNamespace

import kubernetes
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
import yaml
from typer.testing import CliRunner

from helpers.predicting import predictions
from helpers.tf_serving_json import answer
from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.kubeflow.cli.main import app
from inception_finetune.kubeflow.serving import Kind, manifest, predict_request
from inception_finetune.pipeline.config import load_config
from inception_finetune.trainer import signatures

LABELS = ("cat", "dog", "ship")
BUCKET = "kubeflow.storage=gs://bucket/models"


class Brightness(keras.layers.Layer):
    """Logits that differ from picture to picture: the mean pixel, 0, and its negative."""

    def call(self, images):
        mean = tf.reduce_mean(images, axis=[1, 2, 3])
        return 10 * tf.stack([mean, tf.zeros_like(mean), -mean], axis=1)


@pytest.fixture(scope="module")
def pushed(transform_output, tmp_path_factory) -> Path:
    """A pushed model's folder, with the names of its labels beside the SavedModel."""
    directory = tmp_path_factory.mktemp("pushed") / "1"
    image = keras.Input([75, 75, 3])
    vector = keras.layers.GlobalAveragePooling2D()(image)
    network = keras.Model(image, [vector, Brightness()(image)])
    signatures.export(
        signatures.ServingModel(network, transform_output, LABELS, central_crop=0.875),
        str(directory),
    )
    (directory / "assets.extra").mkdir()
    labels = "".join(f"{place}:{name}\n" for place, name in enumerate(LABELS))
    (directory / "assets.extra" / features.LABELS_FILE).write_text(labels)
    return directory


@pytest.fixture(scope="module")
def model(pushed):
    return tf.saved_model.load(str(pushed))


@pytest.fixture(scope="module")
def pictures(examples, tmp_path_factory) -> list[Path]:
    directory = tmp_path_factory.mktemp("pictures")
    paths = [directory / f"{place}.png" for place in range(len(examples.encoded))]
    for path, encoded in zip(paths, examples.encoded, strict=True):
        path.write_bytes(encoded)
    return paths


@pytest.fixture(scope="module")
def predicted(pushed, pictures):
    return predictions(pushed, pictures)


def assert_same(rows, predicted) -> None:
    """Every output of the JSON rows is what the command `predict` says of the same picture."""
    assert len(rows) == len(predicted) > 0
    assert len({prediction.label_id for prediction in predicted}) > 1
    for row, prediction in zip(rows, predicted, strict=True):
        assert (row["label_id"], row["label_name"]) == (prediction.label_id, prediction.label_name)
        assert row["error"] == ""
        assert row["probabilities"] == list(prediction.probabilities.values())


def test_rows_of_pictures_are_answered_as_predict_does(model, pictures, predicted):
    assert_same(answer(model, predict_request(pictures))["predictions"], predicted)


def test_columns_of_pictures_are_answered_as_predict_does(model, pictures, predicted):
    outputs = answer(model, predict_request(pictures, columns=True))["outputs"]
    rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    assert_same(rows, predicted)


@pytest.mark.parametrize("with_labels", [True, False])
def test_serving_default_takes_examples_in_both_forms(model, examples, predicted, with_labels):
    """Without a signature's name, as KServe's clients send it."""
    serialized = examples.serialized if with_labels else [bare(e) for e in examples.encoded]
    encoded = [{"b64": base64.b64encode(example).decode()} for example in serialized]
    rows = answer(model, json.dumps({"instances": [{"examples": one} for one in encoded]}))
    assert_same(rows["predictions"], predicted)
    columns = answer(model, json.dumps({"inputs": {"examples": encoded}}))["outputs"]
    assert columns["label_id"] == [prediction.label_id for prediction in predicted]


def bare(encoded: bytes) -> bytes:
    example = tf.train.Example()
    example.features.feature[features.IMAGE_ENCODED].bytes_list.value.append(encoded)
    return example.SerializeToString()


def test_a_picture_that_cannot_be_read_is_named_in_its_row(model, pictures):
    body = json.loads(predict_request(pictures[:1]))
    body["instances"].append({"images": {"b64": base64.b64encode(b"no picture").decode()}})
    good, bad = answer(model, json.dumps(body))["predictions"]
    assert good["error"] == "" and good["label_id"] >= 0
    assert bad["label_id"] == -1 and "whole PNG or JPEG" in bad["error"]
    np.testing.assert_array_equal(bad["probabilities"], 0)


def test_the_command_prints_the_request(pictures):
    done = CliRunner().invoke(app, ["serving-request", str(pictures[0])])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "signature_name": "predict_images",
        "instances": [{"images": {"b64": base64.b64encode(pictures[0].read_bytes()).decode()}}],
    }


def read(text: str, model: str):
    """As the Kubernetes client's own classes read it, none of its keys left out."""
    client = kubernetes.client.ApiClient()
    content = yaml.safe_load(text)
    made = client.deserialize(SimpleNamespace(data=json.dumps(content)), model)
    assert keys(client.sanitize_for_serialization(made)) == keys(content)
    return made


def keys(value):
    if isinstance(value, dict):
        return {key: keys(item) for key, item in value.items()}
    return [keys(item) for item in value] if isinstance(value, list) else None


def test_tensorflow_serving_by_itself():
    config = load_config("digits", [BUCKET, "kubeflow.serving.replicas=2"])
    text = manifest(config, Kind.TF_SERVING, service_account="reader")
    first, second = text.split("\n---\n")
    deployment, service = read(first, "V1Deployment"), read(second, "V1Service")
    pod = deployment.spec.template.spec
    (container,) = pod.containers
    assert deployment.spec.replicas == 2
    assert pod.service_account_name == "reader"
    assert container.image == config.kubeflow.serving.image
    assert container.args == [
        "--port=8500",
        "--rest_api_port=8501",
        "--model_name=digits",
        "--model_base_path=gs://bucket/models/serving/digits",
    ]
    assert container.resources.limits == {"cpu": "2", "memory": "4000M"}
    assert not pod.volumes
    labels = deployment.spec.template.metadata.labels
    assert service.spec.selector == deployment.spec.selector.match_labels == labels
    assert {port.target_port for port in service.spec.ports} == {
        port.name for port in container.ports
    }


def test_tensorflow_serving_from_a_volume():
    config = load_config("digits", ["kubeflow.volumes.claim=/data"])
    text = manifest(config, Kind.TF_SERVING, model="/data/serving/digits/")
    pod = read(text.split("\n---\n")[0], "V1Deployment").spec.template.spec
    assert pod.containers[0].args[-1] == "--model_base_path=/data/serving/digits"
    assert pod.containers[0].volume_mounts[0].mount_path == "/data"
    assert pod.volumes[0].persistent_volume_claim.claim_name == "claim"


@pytest.mark.parametrize(
    ("place", "uri"),
    [
        ("gs://b/models", "gs://b/models/"),
        ("s3://b/models/", "s3://b/models/"),
        ("minio://b/models", "s3://b/models/"),
        ("/data/serving/digits", "pvc://claim/serving/digits"),
    ],
)
def test_kserve(place, uri):
    config = load_config("digits", ["kubeflow.volumes.claim=/data"])
    made = yaml.safe_load(manifest(config, Kind.KSERVE, model=place, service_account="reader"))
    image = config.kubeflow.serving.image
    resources = {"cpu": 2, "memory": "4000M"}
    assert made == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "digits"},
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "serviceAccountName": "reader",
                "model": {
                    "modelFormat": {"name": "tensorflow"},
                    "image": image,
                    "storageUri": uri,
                    "resources": {"requests": resources, "limits": resources},
                },
            }
        },
    }


def test_a_canary_of_kserve_is_a_new_revision_with_a_share_of_the_requests():
    config = load_config("digits", [BUCKET])
    plain = yaml.safe_load(manifest(config, Kind.KSERVE))
    made = yaml.safe_load(manifest(config, Kind.KSERVE, version="1795870843", canary_percent=10))
    promoted = yaml.safe_load(manifest(config, Kind.KSERVE, version="1795870843"))
    annotations = {"inception-finetune/version": "1795870843"}  # Kubernetes takes text alone
    assert (
        made["metadata"] == promoted["metadata"] == {"name": "digits", "annotations": annotations}
    )
    assert made["spec"]["predictor"].pop("canaryTrafficPercent") == 10
    assert made["spec"] == promoted["spec"] == plain["spec"]
    assert plain["metadata"] == {"name": "digits"}
    stopped = yaml.safe_load(manifest(config, Kind.KSERVE, version="9", canary_percent=0))
    assert stopped["spec"]["predictor"]["canaryTrafficPercent"] == 0


@pytest.mark.parametrize(
    ("kind", "canary", "part"),
    [
        (Kind.KSERVE, {"canary_percent": 10}, "has no version: .* Give --version"),
        (Kind.KSERVE, {"version": "newest"}, "'newest' is no number"),
        (Kind.TF_SERVING, {"version": "9", "canary_percent": 10}, "tf-serving gets no share"),
    ],
)
def test_a_canary_that_could_be_none_is_refused(kind, canary, part):
    with pytest.raises(UserError, match=part):
        manifest(load_config("digits", [BUCKET]), kind, **canary)


@pytest.mark.parametrize(
    ("kind", "settings", "model", "part"),
    [
        (Kind.KSERVE, [], None, "kubeflow.storage is not set"),
        (Kind.TF_SERVING, [], "s3://b/models", "Give --kind kserve"),
        (Kind.KSERVE, ["kubeflow.volumes.claim=/data"], "/database/x", "Name its volume"),
    ],
)
def test_what_cannot_be_served(kind, settings, model, part):
    with pytest.raises(UserError, match=part):
        manifest(load_config("digits", settings), kind, model=model)
