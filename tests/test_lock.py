"""What pyproject.toml asks for beside the defaults is what TensorFlow itself asks for."""

import tomllib
from importlib.metadata import requires

from packaging.requirements import Requirement

from helpers.paths import REPOSITORY


def test_the_extra_gpu_is_tensorflows_and_cuda():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    ours = {Requirement(text) for text in project["optional-dependencies"]["gpu"]}
    theirs = {
        Requirement(f"{parsed.name}{parsed.specifier}")
        for parsed in map(Requirement, requires("tensorflow") or [])
        if parsed.marker
        and parsed.marker.evaluate({"extra": "and-cuda"})
        and not parsed.marker.evaluate({"extra": ""})
    }
    assert ours == theirs
