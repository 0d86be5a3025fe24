"""What the timeline shows: days, and the runs that were made of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Day:
    """A span that was looked at, and what was decided."""

    span: str
    pictures: int
    look: int  # number among the looks at the model; 0: none was taken
    smallest_p: float
    test: str  # whose p-value that is
    level: float  # a p-value up to it is an alarm
    alarms: str  # in words; empty where nothing changed
    note: str  # what the look could not do
    model: str  # version that was in service; empty where there was none
    runs: bool  # whether a run was decided
    reason: str
    verdict: str  # on that run; empty until it has ended
    run: int  # its number; 0 where there is none
    version: str  # that its model was pushed as
    accuracy: float | None  # on test
    why: str  # it was refused or failed


@dataclass(frozen=True)
class RunMade:
    """A run of the pipeline, by `watch` or by hand."""

    number: int
    newest: str  # span that it was made of
    accuracy: float | None  # on test
    version: str  # that its model was pushed as; empty where it was not
