"""Fingerprints of user code: TFX's cache sees a dotted path, not the code behind it."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

# What each step's result depends on, packages with all that is in them.
TRANSFORM_CODE = (
    "inception_finetune.components.image.exif",
    "inception_finetune.components.features",
    "inception_finetune.components.image.decoding",
    "inception_finetune.components.image.transform",
)
TRUNK_CODE = (
    "inception_finetune.components.backbone",
    "inception_finetune.components.backbone.compute_dtype",
    "inception_finetune.components.features",
    "inception_finetune.components.beam.example_shards",
    "inception_finetune.components.io.record_index",
    "inception_finetune.components.trunk_features",
    "inception_finetune.components.image.views",
)
PREDICTION_CODE = (
    "inception_finetune.components.features",
    "inception_finetune.components.evaluation.label_names",
    "inception_finetune.components.beam.example_shards",
    "inception_finetune.components.test_predictions",
)
REPORT_CODE = (
    "inception_finetune.components.dataset.class_counts",
    "inception_finetune.components.image.exif",
    "inception_finetune.components.features",
    "inception_finetune.components.evaluation.label_names",
    "inception_finetune.components.evaluation.learning_curve",
    "inception_finetune.components.evaluation.measures",
    "inception_finetune.components.model_report",
    "inception_finetune.components.image.decoding",
    "inception_finetune.components.test_predictions",
    "inception_finetune.components.evaluation.verdict",
    "inception_finetune.components.web_page",
)
TRAINER_CODE = (
    *TRUNK_CODE,
    "inception_finetune.components.image.exif",
    "inception_finetune.components.image.decoding",
    "inception_finetune.components.image.transform",
    "inception_finetune.trainer",
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
