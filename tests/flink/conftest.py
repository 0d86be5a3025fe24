"""One cluster for all tests here; `make test-flink` fetches its jars."""

import os
from pathlib import Path

import pytest
from cluster import running_cluster

JARS = Path(__file__).parents[2] / "build" / "flink" / "jars"


@pytest.fixture
def cluster(tmp_path_factory):
    jars = Path(os.environ.get("FLINK_JARS", JARS))
    if not list(jars.glob("beam-runners-flink-*.jar")):
        pytest.fail(f"no Flink in {jars}: make test-flink fetches it")
    with running_cluster(jars, tmp_path_factory.mktemp("flink")) as running:
        yield running
