"""Which version answers a request, and what the other one is asked behind the answer."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.pipeline.serving.canary import Canary, Comparisons
from inception_finetune.pipeline.serving.metrics import Metrics
from inception_finetune.pipeline.serving.versions import Version, Versions

_Answer = TypeVar("_Answer")


class Answering:
    """Computes answers in threads, by the version that serves or by the canary."""

    def __init__(
        self,
        versions: Versions,
        metrics: Metrics,
        workers: ThreadPoolExecutor,
        comparisons: Comparisons,
        canary: Canary | None,
    ) -> None:
        """Answers nothing yet.

        Args:
          versions: of the model.
          metrics: counts the answers.
          workers: compute them.
          comparisons: are made where the canary gets a request.
          canary: the share that it gets; None where there is none.
        """
        self._versions = versions
        self._metrics = metrics
        self._workers = workers
        self._comparisons = comparisons
        self._canary = canary

    async def answer(
        self,
        version: Version,
        body: bytes,
        work: Callable[[PushedModel], _Answer],
        labels: Callable[[_Answer], Sequence[str] | None],
        *,
        is_named: bool,
    ) -> tuple[Version, _Answer]:
        """Answers a request, and has the other version asked where it is one of the share.

        Args:
          version: answers where the canary does not.
          body: of the request.
          work: computes the answer.
          labels: returns the classes of an answer; "" for a picture that could not be read.
          is_named: whether the request names the version: then that one answers.

        Returns:
          The version that answered, and its answer.
        """
        loop = asyncio.get_running_loop()
        answering, other = (version, None) if is_named else self._route(version, body)
        with ExitStack() as held:
            # Both, before anything is awaited: a version that nobody uses may be unloaded.
            model = held.enter_context(self._versions.use(answering))
            beside = None if other is None else held.enter_context(self._versions.use(other))
            answer = await loop.run_in_executor(self._workers, work, model)
            self._metrics.answers.labels(answering.number).inc()
            if other is not None and beside is not None:

                async def ask() -> Sequence[str] | None:
                    return labels(await loop.run_in_executor(self._workers, work, beside))

                canary_answered = answering is not version
                canary = answering if canary_answered else other
                self._comparisons.start(
                    (version.number, canary.number),
                    labels(answer),
                    ask,
                    held.pop_all(),
                    canary_answered=canary_answered,
                )
        return answering, answer

    def _route(self, version: Version, body: bytes) -> tuple[Version, Version | None]:
        """Returns the version that answers, and the one that is then compared with it."""
        canary = self._versions.canary
        if canary is None or self._canary is None or not self._canary.takes(body):
            return version, None
        return (version, canary) if self._canary.shadow else (canary, version)
