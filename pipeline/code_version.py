"""Fingerprints of user code: TFX's cache sees a dotted path, not the code behind it."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

# What each step's result depends on, packages with all that is in them.
TRANSFORM_CODE = (
    "components.exif",
    "components.features",
    "components.picture",
    "components.transform",
)
TRUNK_CODE = (
    "components.backbone",
    "components.compute_dtype",
    "components.features",
    "components.pieces",
    "components.record_index",
    "components.trunk_features",
    "components.views",
)
PREDICTION_CODE = (
    "components.features",
    "components.label_names",
    "components.pieces",
    "components.test_predictions",
)
REPORT_CODE = (
    "components.class_counts",
    "components.exif",
    "components.features",
    "components.label_names",
    "components.learning_curve",
    "components.measures",
    "components.model_report",
    "components.picture",
    "components.test_predictions",
    "components.verdict",
    "components.web_page",
)
TRAINER_CODE = (
    *TRUNK_CODE,
    "components.exif",
    "components.picture",
    "components.transform",
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
