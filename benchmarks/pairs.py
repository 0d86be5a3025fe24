"""Paired timing: contestants take turns, so that what else the machine does hits all alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from components.progress import progress


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
        return self.median(lambda cost: cost(slower) / cost(faster))

    def median(self, formula: Callable[[Callable[[str], float]], float]) -> float:
        """The median over rounds of a formula in the seconds that an image costs."""
        rounds = len(next(iter(self.seconds.values())))
        return statistics.median(
            formula(lambda name: self.seconds[name][turn] / self.images[name])
            for turn in range(rounds)
        )


def take_turns(
    contestants: Mapping[str, Callable[[], object]],
    images: Mapping[str, int],
    rounds: int,
    description: str,
) -> Timings:
    """Runs every contestant once to warm up and then once in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    with progress(description, (rounds + 1) * len(contestants), "runs") as advance:
        for turn in range(rounds + 1):
            for name, work in contestants.items():
                started = time.perf_counter()
                work()
                if turn:  # the first one traces graphs and fills caches
                    seconds[name].append(time.perf_counter() - started)
                advance(1)
    return Timings(seconds, images)
