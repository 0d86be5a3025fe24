"""Fingerprints of the steps' code: TFX's cache sees a dotted path, not the code behind it."""

import ast
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import grimp

from inception_finetune.components.steps import Step

_ROOT: Final = __name__.split(".")[0]
_ENTRY_MODULES: Final = {
    Step.EXAMPLE_GEN: "components.example_gen.executor",
    Step.ANOMALY_GATE: "components.anomaly_gate.component",
    Step.TRANSFORM: "components.image.transform",
    Step.TRUNK_FEATURES: "components.trunk_features.component",
    Step.TUNER: "trainer.tuner",
    Step.TRAINER: "trainer.run_fn",
    Step.TEST_PREDICTIONS: "components.test_predictions.component",
    Step.EXPORT: "components.export.component",
    Step.EVALUATOR: "components.evaluation.tfma_metrics",
    Step.INFRA_VALIDATOR: "components.infra_validator.component",
    Step.MODEL_REPORT: "components.model_report.component",
}


# Of the server that InfraValidator starts, by its command.
_SERVER: Final = "pipeline.serving.server"


def code_fingerprint(step: Step) -> str:
    """sha256 of what a step of ours runs: modules, and data files such as templates.

    Comments and layout do not count. Nothing of the code is imported.
    """
    return _fingerprint(code_modules(step))


def server_fingerprint() -> str:
    """The same of our server, which a step starts by its command."""
    return _fingerprint(_modules(_SERVER))


def _fingerprint(code: frozenset[str]) -> str:
    digest = hashlib.sha256()
    modules = sorted(code)
    for module in modules:
        digest.update(f"{module}\0{_normalised(_source(module))}\0".encode())
    for package in sorted({module.rpartition(".")[0] for module in modules}):
        for path in _data_files(_folder(package)):
            digest.update(f"{package}/{path.name}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def code_modules(step: Step) -> frozenset[str]:
    """The step's entry module, and all modules of ours that it imports, directly or not."""
    return _modules(_ENTRY_MODULES[step])


def _modules(name: str) -> frozenset[str]:
    entry = f"{_ROOT}.{name}"
    return frozenset({entry} | _imports().find_upstream_modules(entry))


@cache
def _imports() -> grimp.ImportGraph:
    return grimp.build_graph(_ROOT, cache_dir=None, exclude_type_checking_imports=True)


def _folder(package: str) -> Path:
    return Path(str(resources.files(_ROOT)), *package.split(".")[1:])


def _source(module: str) -> Path:
    package = _folder(module) / "__init__.py"
    return package if package.exists() else _folder(module).with_suffix(".py")


@cache  # the steps share most of their modules
def _normalised(path: Path) -> str:
    return ast.unparse(ast.parse(path.read_text("utf-8")))


def _data_files(package: Path) -> list[Path]:
    """Files that are no Python, of this package but not of those below it."""
    return sorted(
        path
        for path in package.rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and next(parent for parent in path.parents if (parent / "__init__.py").exists()) == package
    )
