"""A real engine and the image, for `make test-containers`."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from local_pipelines import HARDENED
from podman_engine import Engine, running_engine, why_not
from product_image import build_image


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if reason := why_not():
        pytest.fail(reason, pytrace=False)
    with running_engine() as running:
        yield running


@pytest.fixture(scope="module")
def image(engine) -> str:
    return build_image(engine)


@pytest.fixture(scope="module")
def output(engine, image) -> Callable[..., str]:
    """``output(*command)`` runs it in a container as a task's, and gives what it says."""

    def call(*command: str, **options: Any) -> str:
        with engine.client() as client:
            arguments = HARDENED | options
            return client.containers.run(image, list(command), remove=True, **arguments).decode()

    return call
