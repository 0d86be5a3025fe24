"""Paired timing: contestants take turns, so that what else the machine does hits all alike."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from inception_finetune.components.progress import progress

TIMED: Final = 3  # runs of a contestant in its turn


@dataclass(frozen=True)
class Timings:
    """Seconds of each contestant in each round; `images` is how many it works through."""

    seconds: Mapping[str, list[float]]
    images: Mapping[str, int]

    def rate(self, name: str) -> float:
        """Images a second, by the median round."""
        return self.images[name] / statistics.median(self.seconds[name])

    def ratio(self, faster: str, slower: str) -> float:
        """How many times as fast, by the median of the rounds' own ratios."""
        return self.median(lambda cost: cost[slower] / cost[faster])

    def median(self, formula: Callable[[Mapping[str, float]], float]) -> float:
        """The median over rounds of a formula in the seconds that an image costs."""
        return statistics.median(map(formula, self._costs()))

    def _costs(self) -> Iterator[dict[str, float]]:
        for turn in zip(*self.seconds.values(), strict=True):
            yield {
                name: seconds / self.images[name]
                for name, seconds in zip(self.seconds, turn, strict=True)
            }


def take_turns(
    contestants: Mapping[str, Callable[[], object]],
    images: Mapping[str, int],
    rounds: int,
    description: str,
) -> Timings:
    """In each round, every contestant runs once to get going and then `TIMED` times on the clock.

    The first run of a turn traces graphs and finds caches and memory as another one left them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    with progress(description, rounds * len(contestants), "turns") as advance:
        for _ in range(rounds):
            for name, work in contestants.items():
                work()
                started = time.perf_counter()
                for _ in range(TIMED):
                    work()
                seconds[name].append((time.perf_counter() - started) / TIMED)
                advance(1)
    return Timings(seconds, images)
