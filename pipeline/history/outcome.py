"""What a run did: steps, verdict, accuracy, pushed model."""

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from inception_finetune.components.evaluation.metrics import METRICS
from inception_finetune.components.export.record import PUSHED_IN, ExportRecord
from inception_finetune.components.model_report.settings import FACTS
from inception_finetune.components.shown_text import plain
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.runs import Run, StepRun, read_latest_run
from inception_finetune.pipeline.inputs import serving_directory


@dataclass(frozen=True)
class Outcome:
    """What the command `run` prints of a run."""

    steps: tuple[StepRun, ...]
    blessed: bool
    metrics: dict[str, float]  # of the overall test slice; empty where the gate was not reached
    bounds: tuple[str, ...]  # of the overall test slice, each beside what was measured
    refusals: tuple[str, ...]  # bounds that are broken, and by how much
    remarks: tuple[str, ...]  # on the verdict: what was not compared or tested, or may be chance
    pushed: Path | None  # the version that serves now; None where this model was not pushed
    withdrawn: bool  # by `rollback`, after it had been pushed
    exports: ExportRecord | None  # None where the pipeline makes none, or did not come to them
    server_refusal: str | None = None  # why InfraValidator refused it, if it did


def read_outcome(config: Config) -> Outcome:
    """The latest run of the pipeline `config.name`, cached steps included."""
    return outcome_of(read_latest_run(config))


def outcome_of(run: Run) -> Outcome:
    """The outcome of one run, which may have stopped before the gate."""
    if run.blessed is None:
        return Outcome(
            steps=run.steps,
            blessed=False,
            metrics={},
            bounds=(),
            refusals=(),
            remarks=(),
            pushed=None,
            withdrawn=False,
            exports=run.exports,
        )
    # Imports TFMA: seconds, which `predict` need not pay.
    from inception_finetune.components.evaluation.verdict import OVERALL, read_verdict

    facts = json.loads(Path(run.uri(Step.MODEL_REPORT, "model_report"), FACTS).read_text("utf-8"))
    verdict = read_verdict(run.uri(Step.EVALUATOR, "evaluation"), facts["label_names"])
    return Outcome(
        steps=run.steps,
        blessed=run.blessed,
        metrics={name: verdict.metrics[name] for name in METRICS if name in verdict.metrics},
        bounds=tuple(
            threshold.comparison
            for threshold in verdict.thresholds
            if threshold.slice == OVERALL and not threshold.change
        ),
        refusals=verdict.refusals,
        remarks=tuple(facts["remarks"]),
        pushed=run.pushed,
        withdrawn=run.withdrawn,
        exports=run.exports,
        server_refusal=(facts.get("server_check") or {}).get("refusal"),
    )


def latest_pushed(config: Config) -> Path | None:
    """The newest whole version below the serving directory: saved_model.pb is pushed last."""
    versions = serving_directory(config).glob("*/saved_model.pb")
    numbered = [path.parent for path in versions if path.parent.name.isdigit()]
    return max(numbered, key=lambda path: int(path.name), default=None)


def print_outcome(outcome: Outcome, config: Config, console: Console) -> None:
    """Tables of steps and metrics, and where the model and its exports were pushed."""
    table = Table(title=f"{config.name}: steps of this run", title_justify="left")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    table.add_column("")
    for step in outcome.steps:
        seconds = "" if step.cached else f"{step.seconds:.1f}"
        table.add_row(step.name, seconds, "[dim]cached[/]" if step.cached else "ran")
    console.print(table)
    for name, value in outcome.metrics.items():
        console.print(f"{METRICS[name].title}: {value:.4f}", highlight=False)
    for remark in outcome.remarks:
        console.print(plain(remark, style="yellow"), soft_wrap=True)
    if outcome.blessed:
        console.print(f"[green]blessed[/]: {', '.join(outcome.bounds)}", highlight=False)
    if outcome.pushed:
        console.print(plain(f"pushed: {outcome.pushed}"), soft_wrap=True)
    if outcome.exports:
        _print_exports(outcome.exports, outcome.pushed, console)


def _print_exports(exports: ExportRecord, pushed: Path | None, console: Console) -> None:
    for name, file in exports.files.items():
        place = f"pushed: {pushed / PUSHED_IN / file}" if pushed else "passed, not pushed"
        console.print(plain(f"export {name} {place}"), soft_wrap=True)
    for name, why in exports.refused.items():
        line = f"export {name} refused, not pushed: {why}"
        console.print(plain(line, style="yellow"), soft_wrap=True)
