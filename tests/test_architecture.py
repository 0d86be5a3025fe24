"""What the import contracts in pyproject.toml cannot say: names, places, and the map."""

import ast
import importlib
import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY

PACKAGES = ("components", "trainer", "pipeline", "kubeflow")
# Modules of components/ that everybody uses; everything else lies in a package of its own.
LOOSE = {
    "__init__",
    "errors",
    "features",
    "figure",
    "lifetime",
    "native_output",
    "peak_memory",
    "progress",
    "settings",
    "shown_text",
    "steps",
}


def imports_of(path: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(*folders: str) -> list[Path]:
    return sorted(path for name in folders for path in (REPOSITORY / name).rglob("*.py"))


def test_only_what_everybody_uses_is_loose_in_components():
    assert {path.stem for path in (REPOSITORY / "components").glob("*.py")} == LOOSE


def test_the_shared_leaf_imports_none_of_ours():
    found = imports_of(REPOSITORY / "components/features.py")
    assert not {name for name in found if name.startswith("inception_finetune")}


def test_only_the_entry_points_read_fn_args():
    readers = {p.name for p in sources("trainer") if "fn_args." in p.read_text("utf-8")}
    assert readers == {"run_fn.py", "tuner.py"}


def test_keras_2_is_used_everywhere():
    wrong = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in sources(*PACKAGES, "tests", "benchmarks")
        for name in imports_of(path)
        if name == "keras" or name.startswith(("keras.", "tensorflow.keras"))
    }
    assert not wrong


@pytest.mark.parametrize("folder", PACKAGES)
def test_our_own_packages_are_imported_below_their_common_name(folder):
    """`import components` would be another copy of the same modules, or somebody else's."""
    wrong = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in sources(*PACKAGES, "tests", "benchmarks")
        for name in imports_of(path)
        if name.split(".")[0] == folder
    }
    assert not wrong


def test_the_map_names_every_package_and_no_other():
    text = (REPOSITORY / "docs/architecture.md").read_text("utf-8")
    named = set(re.findall(r"^\| `([\w/]+)/`", text, re.M))
    packages = {
        path.parent.relative_to(REPOSITORY).as_posix()
        for path in sources(*PACKAGES, "benchmarks")
        if path.name == "__init__.py"
    }
    assert named == packages | {"tests", "notebooks"}


def test_what_the_notebook_imports_is_there():
    """It runs in `make test-review` alone, and no type checker reads it."""
    notebook = json.loads((REPOSITORY / "notebooks/review.ipynb").read_text("utf-8"))
    code = "\n".join(
        "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"
    )
    imported = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if node.module.startswith("inception_finetune")
    }
    assert len(imported) > 3
    for module, name in imported:
        owner = importlib.import_module(module)
        assert hasattr(owner, name) or find_spec(f"{module}.{name}"), f"{module} has no {name}"
