"""When the pipeline runs: a function of what is known, and of nothing else."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from inception_finetune.components.drift.settings import Watch

_NAMED: Final = 3  # alarms in a reason


@dataclass(frozen=True)
class Situation:
    """What a decision hangs on. Days are those of the spans, or their numbers."""

    model: str | None  # version that is in service
    spans: int  # to train on
    fewest_spans: int  # dataset.min_spans
    alarms: tuple[str, ...]  # of this model's looks since the last run, in words
    new_pictures: int  # of spans that this model was not trained on
    age: int | None  # days from the newest span that this model was trained on; None: not known
    since_run: int | None  # days from the newest span of the last run; None: there was none
    running: str = ""  # where a decided run has not ended: how to call it


class Decision(NamedTuple):
    """Whether the pipeline runs, and why."""

    runs: bool
    reason: str


def decide(situation: Situation, settings: Watch) -> Decision:
    """Decides by the settings; a cool-down and too few spans put off what all else asks for."""
    if situation.running:
        return Decision(False, f"{situation.running} has not ended")
    wanted = _reasons(situation, settings)
    if not wanted:
        return Decision(False, "no drift, and nothing else asks for a run")
    if situation.spans < situation.fewest_spans:
        return Decision(
            False,
            f"{situation.spans:,} of {situation.fewest_spans:,} spans to train on; {wanted}",
        )
    if situation.since_run is not None and situation.since_run < settings.cool_down:
        return Decision(
            False,
            f"cool-down, {situation.since_run:,} of {settings.cool_down:,} days since the last "
            f"run; {wanted}",
        )
    return Decision(True, wanted)


def _reasons(situation: Situation, settings: Watch) -> str:
    """Returns all that asks for a run, in words; empty where nothing does."""
    if situation.model is None:
        return "no model is in service"
    reasons = []
    if alarms := situation.alarms:
        more = f" and {len(alarms) - _NAMED:,} more" if len(alarms) > _NAMED else ""
        reasons.append(f"drift: {', '.join(alarms[:_NAMED])}{more}")
    if settings.new_pictures is not None and situation.new_pictures >= settings.new_pictures:
        reasons.append(f"{situation.new_pictures:,} new pictures")
    if settings.max_age is not None and (situation.age or 0) >= settings.max_age:
        reasons.append(f"the model is {situation.age:,} days old")
    return "; ".join(reasons)
