"""One pass of `watch`: new spans are read and looked at, a decision is taken and carried out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from inception_finetune.components.drift.look import TestResult, take_look
from inception_finetune.components.evaluation.metrics import ACCURACY
from inception_finetune.components.steps import Step
from inception_finetune.pipeline import local
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.data_set import read_source
from inception_finetune.pipeline.failure import as_user_error, user_error
from inception_finetune.pipeline.history.outcome import Outcome, outcome_of
from inception_finetune.pipeline.history.runs import (
    Run,
    newest_runs,
    read_latest_run,
    record,
)
from inception_finetune.pipeline.locks import pipeline_lock
from inception_finetune.pipeline.spans import (
    ChosenSpans,
    Span,
    SpanReader,
    choose_spans,
    span_number,
)
from inception_finetune.pipeline.watch.decision import Situation, decide
from inception_finetune.pipeline.watch.lines import (
    FAILED,
    PUSHED,
    REFUSED,
    RUN,
    WAIT,
    Line,
    read_lines,
    write_line,
)
from inception_finetune.pipeline.watch.reference import (
    ModelInService,
    find_model,
    measure_span,
    read_reference,
    seed_of,
)

_NAMED: Final = 3  # tests in an alarm's words
_LATER: Final = "decided with the last span of the pass"


@dataclass(frozen=True)
class Pass:
    """What one pass has done."""

    lines: tuple[Line, ...]  # of the spans that were looked at
    carried_out: Line | None  # whose run has ended in this pass
    outcome: Outcome | None  # of that run


def watch_once(config: Config, say: Callable[[str], None], *, verbose: bool = False) -> Pass:
    """Looks at new spans, decides, and runs the pipeline where that is decided.

    A pass that was killed loses nothing: a span has its line or is new to the next pass, and a run
    that was decided and has no verdict is taken up again.

    Args:
      config: of the pipeline; its data are spans.
      say: is called with a line for each thing that was done.
      verbose: whether the libraries' own messages of a run are shown.

    Raises:
      UserError: for each foreseeable failure, in one line; one of a run is in its line as well.
    """
    root = Path(config.root)
    with as_user_error(), pipeline_lock(root):
        lines = _look_at_new_spans(config, say)
    open_line = next((line for line in read_lines(config) if line.is_open), None)
    if open_line is None:
        return Pass(tuple(lines), None, None)
    carried_out, outcome = _carry_out(config, open_line, say, verbose=verbose)
    return Pass(tuple(lines), carried_out, outcome)


def _look_at_new_spans(config: Config, say: Callable[[str], None]) -> list[Line]:
    chosen = choose_spans(config)
    for note in chosen.notes:
        say(note)
    known, model = read_lines(config), find_model(config)
    have_lines, taught = {line.span for line in known}, _taught(config, model)
    new = [one for one in chosen.all if one.versioned not in have_lines | taught]
    reader, written = SpanReader(config, read_source, say), list[Line]()
    for place, span in enumerate(new):
        line = _look(config, span, chosen, model, [*known, *written], reader)
        if place == len(new) - 1:
            situation = situation_of(config, chosen, model, [*known, *written, line])
            runs, reason = decide(situation, config.watch)
            line = replace(line, decision=RUN if runs else WAIT, reason=reason)
        written.append(write_line(config, line))
        say(_told(written[-1]))
    reader.remove_others(chosen.all)
    if not chosen.all:
        say(f"no span matches dataset.spans={config.dataset.spans} yet")
    elif not new:
        say(f"no new span among {len(chosen.all):,}")
    return written


def _look(
    config: Config,
    span: Span,
    chosen: ChosenSpans,
    model: ModelInService | None,
    lines: list[Line],
    reader: SpanReader,
) -> Line:
    stored = reader.take(span.name, span.path, span.version)
    line = Line(
        span=span.versioned,
        number=span.number,
        newest=chosen.all[-1].number,
        pictures=len(stored.pictures),
        model=model.version if model else "",
        reason=_LATER,
    )
    if model is None or not stored.pictures:
        return line
    look = take_look(
        read_reference(config, model),
        measure_span(stored, model, config.drift),
        1 + sum(one.model == model.version and one.look > 0 for one in lines),
        false_alarm=config.watch.false_alarm,
        permutations=config.watch.permutations,
        allowed_shift=config.drift.label_shift,
        seed=seed_of(config.drift.seed, span.versioned, model.version),
    )
    notes = []
    if look.blunt:
        notes.append("watch.permutations are too few for labels and features to raise an alarm")
    if not look.has_features:
        notes.append("features were not compared")
    return replace(
        line,
        look=look.number,
        level=look.level,
        smallest_p=look.smallest.p,
        test=look.smallest.name,
        alarms=in_words(look.alarms),
        note="; ".join(notes),
    )


def in_words(alarms: Sequence[TestResult]) -> str:
    """Returns the tests that have raised an alarm, the most unusual first; empty for none."""
    found = sorted(alarms, key=lambda test: test.p)
    named = [f"{one.name} (p = {one.p:.2g})" if one.p else one.name for one in found[:_NAMED]]
    more = [f"{len(found) - _NAMED:,} more"] if len(found) > _NAMED else []
    return ", ".join([*named, *more])


def situation_of(
    config: Config, chosen: ChosenSpans, model: ModelInService | None, lines: list[Line]
) -> Situation:
    """Describes what is known when the last of `lines` is decided.

    Args:
      config: of the pipeline.
      chosen: the spans that are there, at least one.
      model: in service, if one is.
      lines: all, oldest first; the last one need not be written yet.
    """
    newest, taught = chosen.all[-1].number, _taught(config, model)
    # What a run that failed was to answer is still open.
    ended = [
        place for place, line in enumerate(lines) if line.decision == RUN and line.verdict != FAILED
    ]
    since = lines[ended[-1] + 1 :] if ended else lines
    open_line = next((line for line in lines if line.is_open), None)
    to_train_on = {one.versioned for one in chosen.train}
    pictures = {line.span: line.pictures for line in lines}
    return Situation(
        model=model.version if model else None,
        spans=len(chosen.train),
        fewest_spans=config.dataset.min_spans,
        alarms=tuple(
            f"{line.alarms} in {line.span}"
            for line in since
            if model and line.model == model.version and line.alarms
        ),
        new_pictures=sum(pictures.get(name, 0) for name in to_train_on - taught),
        age=_days(newest, map(span_number, taught)),
        since_run=_days(newest, _ends_of_runs(config, lines)),
        running=f"the run that was decided with {open_line.span}" if open_line else "",
    )


def _taught(config: Config, model: ModelInService | None) -> set[str]:
    """Returns the spans that the model in service was trained on."""
    if model is None:
        return set()
    taught = set(model.run.spans)
    trained_by = model.run.config or config  # settings may have changed since
    if taught and trained_by.dataset.newest_as_test:
        taught.remove(max(taught, key=span_number))
    return taught


def _ends_of_runs(config: Config, lines: list[Line]) -> list[int]:
    """Returns numbers of the newest spans of runs, of the last one among them.

    Runs by hand count as well, and those of which nothing came but the decision.
    """
    ends = [line.newest for line in lines if line.decision == RUN]
    of_last = next((run.spans for run in newest_runs(config) if run.spans), {})
    return [*ends, *map(span_number, of_last)]


def _days(newest: int, numbers: Iterable[int]) -> int | None:
    last = max(numbers, default=None)
    return None if last is None else newest - last


def _carry_out(
    config: Config, line: Line, say: Callable[[str], None], *, verbose: bool
) -> tuple[Line, Outcome]:
    """Runs the pipeline, or finds that it has run since the decision, and completes the line."""
    done = _run_since(config, line)
    try:
        if done is None:
            say(f"running: {line.reason} ({line.span})")
            outcome = local.run(config, verbose=verbose)
        else:
            say(f"run {done.number} has ended before its verdict was written down")
            outcome = outcome_of(done)
            if done.accuracy is None:
                record(config, since=line.when, accuracy=outcome.metrics.get(ACCURACY.name))
    except Exception as error:
        known = user_error(error)
        why = str(known or f"{type(error).__name__}: {error}").splitlines()[0]
        write_line(config, replace(line, verdict=FAILED, why=why))
        raise
    refusals = [*outcome.refusals, *([outcome.server_refusal] if outcome.server_refusal else [])]
    if outcome.withdrawn:
        refusals.append("this model was withdrawn by `rollback`")
    carried_out = replace(
        line,
        verdict=PUSHED if outcome.pushed else REFUSED,
        run=(done or read_latest_run(config)).number,
        version=outcome.pushed.name if outcome.pushed else "",
        accuracy=outcome.metrics.get(ACCURACY.name, -1.0),
        why="; ".join(refusals),
    )
    return write_line(config, carried_out), outcome


def _run_since(config: Config, line: Line) -> Run | None:
    """Finds a run that began after the decision and has come to its end."""
    for run in newest_runs(config):
        if run.started < line.when:
            return None
        if {(Step.PUSHER, "pushed_model"), (Step.MODEL_REPORT, "model_report")} <= set(
            run.artifacts
        ):
            return run
    return None


def _told(line: Line) -> str:
    look = (
        f"look {line.look:,} at model {line.model}, smallest p {line.smallest_p:.2g} ({line.test}) "
        f"at level {line.level:.1g}"
        if line.look
        else "no look"
    )
    note = f" ({line.note})" if line.note else ""
    span = f"span {line.span}: {line.pictures:,} pictures, {look}{note}"
    return f"{span}; {line.decision}: {line.reason}"
