"""A share of the requests goes to a second version, and both versions' answers are compared."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from pydantic import Field

from inception_finetune.components.settings import Section
from inception_finetune.pipeline.serving.metrics import Metrics

_HASH_BYTES: Final = 8
_SHOWN: Final = 20  # pairs of classes that are shown


class Canary(Section):
    """Which version gets a share of the requests, and what is done with its answers."""

    version: int = Field(ge=0)
    share: float = Field(0.1, gt=0, le=1)  # of the requests that name no version
    shadow: bool = False  # the other version answers all of them; the canary is compared alone

    def takes(self, body: bytes) -> bool:
        """Whether a request is one of the share.

        By a hash of the body and the version: the same picture is always answered by the same
        version, and another canary gets other pictures.

        Args:
          body: of the request.
        """
        digest = hashlib.sha256(f"{self.version}\0".encode() + body).digest()
        return int.from_bytes(digest[:_HASH_BYTES], "big") < self.share * 2 ** (8 * _HASH_BYTES)


class Agreement:
    """How often a canary named another class than the version that serves beside it."""

    def __init__(self, version: int, canary: int) -> None:
        """Begins at 0.

        Args:
          version: that serves.
          canary: the version that is compared with it.
        """
        self.version = version
        self.canary = canary
        self.compared = 0  # pictures that both could read
        self.changes: Counter[tuple[str, str]] = Counter()  # of the class: the version's, canary's

    @property
    def disagreements(self) -> int:
        """Pictures of which they named different classes."""
        return self.changes.total()

    def add(self, labels: Sequence[str], of_canary: Sequence[str]) -> tuple[int, int]:
        """Takes both answers to a request.

        Args:
          labels: the likeliest class of each picture by the version that serves; "" of those that
            could not be read.
          of_canary: the same by the canary.

        Returns:
          On how many pictures they agree, and on how many not.
        """
        pairs = [(a, b) for a, b in zip(labels, of_canary, strict=True) if a and b]
        changed = [(a, b) for a, b in pairs if a != b]
        self.compared += len(pairs)
        self.changes.update(changed)
        return len(pairs) - len(changed), len(changed)

    def facts(self) -> dict[str, Any]:
        """Returns what ``/canary`` shows of it."""
        return {
            "version": self.version,
            "canary": self.canary,
            "compared": self.compared,
            "disagreements": self.disagreements,
            "share": self.disagreements / self.compared if self.compared else None,
            "changes": [
                {"version": a, "canary": b, "pictures": count}
                for (a, b), count in self.changes.most_common(_SHOWN)
            ],
        }

    def __str__(self) -> str:
        """What is said at the end."""
        share = f" ({self.disagreements / self.compared:.2%})" if self.compared else ""
        return (
            f"version {self.canary} beside {self.version}: another class for "
            f"{self.disagreements:,} of {self.compared:,} pictures{share}"
        )


class Comparisons:
    """Asks the other version about requests that were answered, behind the answer."""

    def __init__(self, metrics: Metrics, most: int) -> None:
        """Nothing was compared yet.

        Args:
          metrics: counts what is compared.
          most: how many requests are compared at a time; others are left out, and counted.
        """
        self._metrics = metrics
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()
        self._agreements: dict[tuple[int, int], Agreement] = {}

    @property
    def under_way(self) -> int:
        """Number of requests that are being compared."""
        return len(self._tasks)

    @property
    def agreements(self) -> list[Agreement]:
        """Of each pair of versions, the newest last."""
        return list(self._agreements.values())

    def start(
        self,
        versions: tuple[int, int],
        labels: Sequence[str] | None,
        ask: Callable[[], Awaitable[Sequence[str] | None]],
        held: ExitStack,
        *,
        canary_answered: bool,
    ) -> None:
        """Compares an answer with that of the other version, in a task of its own.

        Args:
          versions: numbers of the one that serves and of the canary.
          labels: of the answer, "" for a picture that could not be read; None if it has none.
          ask: gives those of the other version.
          held: is closed when the other version is not needed any more.
          canary_answered: whose answer `labels` are.
        """
        if labels is None or len(self._tasks) >= self._most:
            held.close()
            self._count("no_classes" if labels is None else "skipped")
            return
        task = asyncio.create_task(self._compare(versions, labels, ask, held, canary_answered))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(
        self,
        versions: tuple[int, int],
        labels: Sequence[str],
        ask: Callable[[], Awaitable[Sequence[str] | None]],
        held: ExitStack,
        canary_answered: bool,
    ) -> None:
        with held:
            try:
                others = await ask()
            except Exception:  # noqa: BLE001 (whatever a model raises; the client has its answer)
                others = None
            if others is None or len(others) != len(labels):
                self._count("failed")
                return
            agreement = self._agreements.setdefault(versions, Agreement(*versions))
            pair = (others, labels) if canary_answered else (labels, others)
            for same, pictures in zip(("yes", "no"), agreement.add(*pair), strict=True):
                self._metrics.compared.labels(*versions, same).inc(pictures)
            self._count("compared")

    def _count(self, result: str) -> None:
        self._metrics.comparisons.labels(result).inc()
