"""Fingerprints of user code: TFX's cache sees a dotted path, not the code behind it."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

# What each step's result depends on, packages with all that is in them.
TRANSFORM_CODE = (
    "components.image.exif",
    "components.features",
    "components.image.decoding",
    "components.image.transform",
)
TRUNK_CODE = (
    "components.backbone",
    "components.backbone.compute_dtype",
    "components.features",
    "components.beam.example_shards",
    "components.io.record_index",
    "components.trunk_features",
    "components.image.views",
)
PREDICTION_CODE = (
    "components.features",
    "components.evaluation.label_names",
    "components.beam.example_shards",
    "components.test_predictions",
)
REPORT_CODE = (
    "components.dataset.class_counts",
    "components.image.exif",
    "components.features",
    "components.evaluation.label_names",
    "components.evaluation.learning_curve",
    "components.evaluation.measures",
    "components.model_report",
    "components.image.decoding",
    "components.test_predictions",
    "components.evaluation.verdict",
    "components.web_page",
)
TRAINER_CODE = (
    *TRUNK_CODE,
    "components.image.exif",
    "components.image.decoding",
    "components.image.transform",
    "trainer",
)


def code_fingerprint(modules: tuple[str, ...]) -> str:
    """sha256 over the names and the source of `modules`; nothing of them is imported."""
    digest = hashlib.sha256()
    for module in modules:
        for path in _sources(module):
            digest.update(f"{module}/{path.name}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(module: str) -> list[Path]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    origin = Path(spec.origin)
    if origin.name != "__init__.py":
        return [origin]
    # Templates are code as well; what Python compiles is not.
    return sorted(
        path
        for path in origin.parent.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
