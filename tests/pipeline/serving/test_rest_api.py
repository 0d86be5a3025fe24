"""Through real HTTP: TensorFlow Serving's routes, their errors, and what else the server tells."""

import base64
import json
import shutil

import pytest
import requests

from helpers.made_pictures import record
from helpers.predicting import predictions
from helpers.served import serving
from inception_finetune.kubeflow.serving import predict_request
from inception_finetune.pipeline.prediction.predict import Prediction

NAME = "digits"


@pytest.fixture(scope="module")
def pictures(examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{place}.png" for place in range(len(examples.encoded))]
    for path, encoded in zip(paths, examples.encoded, strict=True):
        path.write_bytes(encoded)
    return paths


@pytest.fixture(scope="module")
def predicted(brightness_model, pictures) -> list[Prediction]:
    return predictions(brightness_model, pictures)


@pytest.fixture(scope="module")
def server(brightness_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    shutil.copytree(brightness_model, folder / "3")
    with serving(folder) as served:
        yield served


@pytest.fixture
def model(server) -> str:
    return f"{server.url}/v1/models/{NAME}"


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def assert_same(rows, predicted) -> None:
    assert len(rows) == len(predicted) == 10
    for row, one in zip(rows, predicted, strict=True):
        said = {"label_id": one.label_id, "label_name": one.label_name, "error": ""}
        said["unknown"] = one.unknown
        assert {key: row[key] for key in said} == said
        assert set(row) - set(said) == {"probabilities", "in_set", "distance"}
        names = [
            name for name, inside in zip(one.label_names, row["in_set"], strict=True) if inside
        ]
        assert tuple(names) == one.prediction_set
        assert row["probabilities"] == pytest.approx(list(one.probabilities.values()), abs=1e-6)


def test_rows_and_columns_are_answered_as_predict_does(model, pictures, predicted):
    rows = requests.post(f"{model}:predict", predict_request(pictures), timeout=30)
    assert rows.status_code == 200 and rows.headers["Content-Type"].startswith("application/json")
    assert_same(rows.json()["predictions"], predicted)
    body = predict_request(pictures, columns=True)
    outputs = requests.post(f"{model}/versions/3:predict", body, timeout=30).json()["outputs"]
    columns = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    assert_same(columns, predicted)


def test_the_default_signature_takes_examples(model, examples, predicted):
    encoded = [b64(one) for one in examples.serialized]
    body = json.dumps({"instances": [{"examples": one} for one in encoded]})
    assert_same(
        requests.post(f"{model}:predict", body, timeout=30).json()["predictions"], predicted
    )
    for unnamed in ({"instances": encoded}, {"inputs": encoded}, {"inputs": {"examples": encoded}}):
        answer = requests.post(f"{model}:predict", json.dumps(unnamed), timeout=30).json()
        rows = answer.get("predictions") or answer["outputs"]
        ids = [row["label_id"] for row in rows] if isinstance(rows, list) else rows["label_id"]
        assert ids == [one.label_id for one in predicted]


def test_embeddings_have_all_digits_of_a_float32(model, examples):
    body = {"signature_name": "embed_images", "inputs": [b64(examples.encoded[3])]}
    outputs = requests.post(f"{model}:predict", json=body, timeout=30).json()["outputs"]
    [vector] = outputs["embedding"]
    assert len(vector) == 3 and vector[0] == pytest.approx(2 * 85 / 255 - 1, abs=1e-4)
    assert max(len(str(value)) for value in vector) < 14


def test_a_bad_picture_does_not_harm_the_others(model, examples):
    body = {"signature_name": "predict_images", "instances": [b64(b"no"), b64(examples.encoded[0])]}
    bad, good = requests.post(f"{model}:predict", json=body, timeout=30).json()["predictions"]
    assert bad["label_id"] == -1 and "a picture must be" in bad["error"]
    assert good["label_name"] == "dark" and good["error"] == ""


GOOD = {"images": b64(b"x")}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe", "JSON Parse error"),
        (b"[" * 100_000, "JSON Parse error"),
        ([], "must be a JSON object"),
        ({}, "one of the keys 'instances' and 'inputs'"),
        ({"instances": [GOOD], "inputs": GOOD}, "one of the keys"),
        ({"instances": []}, "at least one row"),
        ({"instances": {}}, "at least one row"),
        ({"instances": [GOOD], "signature_name": "none"}, 'name: "none" not found'),
        ({"instances": [GOOD], "signature_name": 3}, "'signature_name' key must be a string"),
        ({"instances": [{"image": "x"}]}, "must have the inputs ['images']"),
        ({"instances": [GOOD, "x"]}, "must have the inputs ['images']"),
        ({"inputs": {"image": ["x"]}}, "must have the inputs ['images']"),
        ({"inputs": [[b64(b"x")]]}, "has shape (1, 1), and must have (None,)"),
        ({"inputs": "x"}, "has shape (), and must have (None,)"),
        ({"inputs": [["x"], "y"]}, "Input images is not of type string"),
        ({"inputs": [3]}, "Input images is not of type string: neither text nor"),
        ({"inputs": [{"b64": "!"}]}, "Unable to base64 decode"),
        ({"inputs": [{"b64": 3}]}, "neither text nor"),
        ({"inputs": ["\ud800"]}, "Input images is not of type string"),
        ({"inputs": ["x"] * 65}, "Request has 65 examples, more than 64"),
    ],
)
def test_each_error_is_json_with_status_400(model, body, error):
    if isinstance(body, dict):
        body = {"signature_name": "predict_images", **body}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = requests.post(f"{model}:predict", data, timeout=30)
    assert answer.status_code == 400 and set(answer.json()) == {"error"}
    assert error in answer.json()["error"] and len(answer.json()["error"]) <= 400


def test_examples_that_cannot_be_read_are_refused_as_the_model_does(model, examples):
    bad = record(IMAGE_ENCODED=b"no picture")
    body = json.dumps({"instances": [b64(examples.serialized[0]), b64(bad)]})
    answer = requests.post(f"{model}:predict", body, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("InvalidArgumentError: assertion failed: [a picture")
    assert answer.json()["error"].endswith("not so at these places of the batch:] [1]")
    no_example = requests.post(f"{model}:predict", json={"instances": [b64(b"x")]}, timeout=30)
    assert no_example.status_code == 400 and "InvalidArgumentError" in no_example.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("POST", "/v1/models/other:predict", 404, "Servable not found for request: Latest(other)"),
        ("POST", f"/v1/models/{NAME}/versions/2:predict", 404, f"Specific({NAME}, 2)"),
        ("GET", "/v1/models/other", 404, "Could not find any versions of model other"),
        ("GET", f"/v1/models/{NAME}/versions/2", 404, "Could not find version 2 of model digits"),
        ("GET", "/v1/models/other/metadata", 404, "Servable not found"),
        ("GET", f"/v1/models/{NAME}:predict", 400, "Malformed request: GET /v1/models/digits"),
        ("POST", f"/v1/models/{NAME}:classify", 400, "Malformed request: POST"),
        ("GET", "/v1/", 400, "Malformed request"),
        ("GET", "/none", 404, "Not Found: GET /none"),
        ("PUT", "/classify", 405, "Method Not Allowed"),
        ("POST", "/classify?top=x", 400, "top must be a number from 1 on"),
        ("POST", "/classify", 400, "a picture must be"),
    ],
)
def test_what_is_not_there(server, method, path, status, error):
    answer = requests.request(method, f"{server.url}{path}", timeout=30)
    assert answer.status_code == status and error in answer.json()["error"]


def test_status_and_metadata(model):
    for address in (model, f"{model}/versions/3"):
        assert requests.get(address, timeout=30).json() == {
            "model_version_status": [
                {
                    "version": "3",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        }
    metadata = requests.get(f"{model}/metadata", timeout=30).json()
    assert metadata["model_spec"] == {"name": NAME, "signature_name": "", "version": "3"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    images = signatures["predict_images"]["inputs"]["images"]
    assert images["dtype"] == "DT_STRING"
    assert images["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    assert {"serving_default", "embed_images"} <= set(signatures)


def test_a_picture_by_itself(server, pictures, predicted):
    answer = requests.post(f"{server.url}/classify?top=2", pictures[0].read_bytes(), timeout=30)
    likeliest = predicted[0].ranked(2)
    assert answer.json() == {
        "model": NAME,
        "version": 3,
        "classes": [
            {"label": label, "probability": pytest.approx(float(share), abs=1e-6)}
            for label, share in likeliest
        ],
        "prediction_set": list(predicted[0].prediction_set),
        "unknown": predicted[0].unknown,
    }


def value(text: str, name: str) -> float:
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[-1])


def test_metrics_count_requests_errors_and_seconds(server, model, pictures):
    def metrics() -> str:
        return requests.get(f"{server.url}/metrics", timeout=30).text

    requests.post(f"{server.url}/classify", b"x", timeout=30)
    requests.post(f"{model}:predict", predict_request(pictures[:3]), timeout=30)
    first = metrics()
    requests.post(f"{server.url}/classify", b"x", timeout=30)
    requests.post(f"{model}:predict", predict_request(pictures[:3]), timeout=30)
    second = metrics()
    grown = {
        'inception_finetune_requests_total{code="400",route="classify"}': 1,
        'inception_finetune_requests_total{code="200",route="predict"}': 1,
        'inception_finetune_request_seconds_count{route="predict"}': 1,
        "inception_finetune_pictures_total": 4,
        "inception_finetune_unreadable_pictures_total": 1,
    }
    for name, by in grown.items():
        assert value(second, name) - value(first, name) == by, name
    assert value(second, "inception_finetune_model_version") == 3
    assert value(second, "inception_finetune_requests_in_flight") == 0
    assert value(second, 'inception_finetune_model_loads_total{result="loaded"}') == 1
    assert value(second, "process_resident_memory_bytes") > 1e8


def test_health_and_the_page(server):
    assert requests.get(f"{server.url}/healthz/live", timeout=30).json() == {"live": True}
    health = requests.get(f"{server.url}/healthz", timeout=30)
    assert health.json() == {"live": True, "ready": True, "version": 3}
    page = requests.get(server.url, timeout=30)
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "http" not in page.text
