"""What a run did: steps, verdict, accuracy, pushed model."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.config import Config
from pipeline.evaluation import ACCURACY, CROSS_ENTROPY, TOP_2_ACCURACY
from pipeline.inputs import serving_directory
from pipeline.runs import Run, Step, read_latest_run


@dataclass(frozen=True)
class Outcome:
    steps: tuple[Step, ...]
    blessed: bool
    metrics: dict[str, float]  # of the overall test slice; empty where the gate was not reached
    refusals: tuple[str, ...]  # thresholds that failed, and by how much
    pushed: Path | None  # the version that serves now; None where this model was not pushed


def read_outcome(config: Config) -> Outcome:
    """The latest run of the pipeline `config.name`, cached steps included."""
    return outcome_of(read_latest_run(config))


def outcome_of(run: Run) -> Outcome:
    if run.blessed is None:
        return Outcome(run.steps, blessed=False, metrics={}, refusals=(), pushed=None)
    evaluation = run.uri("Evaluator", "evaluation")
    return Outcome(
        steps=run.steps,
        blessed=run.blessed,
        metrics=_overall_metrics(evaluation),
        refusals=() if run.blessed else tuple(_refusals(evaluation)),
        pushed=run.pushed,
    )


def latest_pushed(config: Config) -> Path | None:
    """The newest whole version below the serving directory: saved_model.pb is pushed last."""
    versions = serving_directory(config).glob("*/saved_model.pb")
    numbered = [path.parent for path in versions if path.parent.name.isdigit()]
    return max(numbered, key=lambda path: int(path.name), default=None)


def print_outcome(outcome: Outcome, config: Config, console: Console) -> None:
    table = Table(title=f"{config.name}: steps of this run", title_justify="left")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    table.add_column("")
    for step in outcome.steps:
        seconds = "" if step.cached else f"{step.seconds:.1f}"
        table.add_row(step.name, seconds, "[dim]cached[/]" if step.cached else "ran")
    console.print(table)
    for name, value in outcome.metrics.items():
        console.print(f"{name.replace('_', ' ')}: {value:.4f}", highlight=False)
    if outcome.blessed:
        console.print(
            f"[green]blessed[/]: accuracy {outcome.metrics[ACCURACY]:.4f} >= "
            f"{config.gate.min_accuracy}",
            highlight=False,
        )
        console.print(f"pushed: {outcome.pushed}", highlight=False, soft_wrap=True)


def _overall_metrics(uri: str) -> dict[str, float]:
    import tensorflow_model_analysis as tfma

    overall = next(row for row in tfma.load_metrics(uri) if not row.slice_key.single_slice_keys)
    # With a baseline, there are metrics of both models and of their difference.
    measured = {
        metric.key.name: metric.value.double_value.value
        for metric in overall.metric_keys_and_values
        if metric.key.model_name in ("", "candidate") and not metric.key.is_diff
    }
    return {name: measured[name] for name in (ACCURACY, TOP_2_ACCURACY, CROSS_ENTROPY)}


def _refusals(uri: str) -> list[str]:
    import tensorflow_model_analysis as tfma

    refusals = []
    for validation in tfma.load_validation_result(uri).metric_validations_per_slice:
        where = (
            ", ".join(
                f"{key.column}={_value(key)}" for key in validation.slice_key.single_slice_keys
            )
            or "overall"
        )
        for failure in validation.failures:
            refusals.append(_refusal(failure, where))
    return refusals


def _value(key) -> str:
    return str(getattr(key, key.WhichOneof("kind")))


def _refusal(failure, where: str) -> str:
    """One threshold: what it asks, what was measured, and the difference."""
    name, value = failure.metric_key.name, failure.metric_value.double_value.value
    threshold = failure.metric_threshold
    if threshold.HasField("change_threshold"):
        allowed = threshold.change_threshold.absolute.value
        return (
            f"{where} {name} must not fall more than {-allowed:g} below the last blessed model; "
            f"it changed by {value:+.4f}, {allowed - value:.4f} too much"
        )
    bound = threshold.value_threshold.lower_bound.value
    return (
        f"{where} {name} must be at least {bound:g}; it is {value:.4f}, {bound - value:.4f} short"
    )
