"""Which package may import which, and what single modules must not know, by their imports."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from helpers.paths import REPOSITORY as ROOT

PACKAGES = ("components", "trainer", "pipeline", "kubeflow")  # each may import those before it


def imports_of(path: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    above = PACKAGES[PACKAGES.index(package) + 1 :]
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        for name in imports_of(path)
        if name.split(".")[0] in above
    }
    assert not wrong


@pytest.mark.parametrize(
    ("path", "unknown"),
    [
        ("pipeline/config.py", {"tensorflow", "tfx", "tf_keras"}),
        ("components/settings.py", {"tensorflow", "tfx", "tf_keras"}),
        ("trainer/settings.py", {"tensorflow", "tfx", "tf_keras"}),
        ("pipeline/kubeflow_settings.py", {"tensorflow", "tfx", "tf_keras"}),
        ("kubeflow/parameters.py", {"tensorflow", "tfx", "kfp"}),
        ("kubeflow/storage.py", {"tensorflow", "tfx", "kfp"}),
        ("pipeline/pipeline.py", {"tensorflow", "tf_keras", "kfp", "tfx.orchestration.local"}),
        ("components/image/transform.py", {"components.backbone", "tf_keras"}),
        ("trainer/input_fn.py", {"trainer.model", "components.backbone"}),
        ("components/trunk_features/handler.py", {"trainer", "tf_keras"}),
        ("components/trunk_features/component.py", {"trainer", "components.backbone"}),
        ("trainer/order.py", {"tensorflow", "tf_keras", "tfx"}),
        ("trainer/model.py", {"tfx"}),
        ("trainer/signatures.py", {"trainer.model", "tfx"}),
    ],
)
def test_modules_do_not_know_what_is_not_theirs(path, unknown):
    names = imports_of(ROOT / path)
    assert not {name for name in names for stem in unknown if f"{name}.".startswith(f"{stem}.")}


def test_the_shared_leaf_imports_none_of_ours():
    assert not {
        n for n in imports_of(ROOT / "components/features.py") if n.split(".")[0] in PACKAGES
    }


def test_only_the_entry_points_read_fn_args():
    readers = {p.name for p in sources("trainer") if "fn_args." in p.read_text("utf-8")}
    assert readers == {"run_fn.py", "tuner.py"}


def test_keras_2_is_used_everywhere():
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for package in (*PACKAGES, "tests")
        for path in sources(package)
        for name in imports_of(path)
        if name == "keras" or name.startswith(("keras.", "tensorflow.keras"))
    }
    assert not wrong


def test_the_readmes_map_names_every_module_and_no_other():
    text = (ROOT / "README.md").read_text("utf-8")
    places = re.findall(r"`([\w/.*]+)`", text[text.index("## Map") :])
    patterns = [f"{place}*" if place.endswith("/") else place for place in places if "/" in place]
    modules = [path.relative_to(ROOT).as_posix() for name in PACKAGES for path in sources(name)]
    named = [m for m in modules if any(fnmatch(m, pattern) for pattern in patterns)]
    assert [m for m in modules if m not in named and not m.endswith("__init__.py")] == []
    assert [place for place in patterns if not list(ROOT.glob(place))] == []
