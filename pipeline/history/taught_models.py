"""Which models have learned from spans: they were trained on them, or started from such a model."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.outcome import latest_pushed
from inception_finetune.pipeline.history.rollback import read_rollbacks
from inception_finetune.pipeline.history.runs import Run
from inception_finetune.pipeline.history.span_places import taught_spans

_INPUT, _OUTPUT = metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.OUTPUT


@dataclass(frozen=True)
class TaughtModel:
    """A model that has learned from a forgotten span, and stays."""

    pipeline: str
    run: int  # number of the run that trained it
    versions: tuple[str, ...]  # it was pushed as; none where it was not
    serves: bool  # as the newest version
    descends: bool  # it was not trained on the span itself, but started from a model that was


def taught_models(
    store: mlmd.MetadataStore, runs: Iterable[tuple[Config, Run]], names: Collection[str]
) -> tuple[tuple[metadata_store_pb2.Artifact, TaughtModel], ...]:
    """Finds the models that were trained on spans, or started from one that was.

    Args:
      store: the metadata.
      runs: of all pipelines in it, each with a configuration of the pipeline's name.
      names: of the spans.

    Returns:
      The models, oldest first.
    """
    runs = list(runs)
    with_model = [(of, run) for of, run in runs if (Step.TRAINER, "model") in run.artifacts]
    taught = {
        run.artifacts[Step.TRAINER, "model"].id
        for _, run in with_model
        if taught_spans(run) & set(names)
    }
    descended = _started_from(store, taught) - taught
    # Of the runs that have a model, the oldest trained it; the others found it made.
    found: dict[int, tuple[metadata_store_pb2.Artifact, TaughtModel]] = {}
    for of_name, run in sorted(with_model, key=lambda one: one[1].started):
        model = run.artifacts[Step.TRAINER, "model"]
        if model.id not in taught | descended:
            continue
        versions = set(_versions(of_name, run))
        newest = latest_pushed(of_name)
        known = found.get(model.id)
        if known:
            versions |= set(known[1].versions)
        found[model.id] = (
            model,
            TaughtModel(
                pipeline=of_name.name,
                run=known[1].run if known else run.number,
                versions=tuple(sorted(versions, key=int)),
                serves=newest is not None and newest.name in versions,
                descends=model.id in descended,
            ),
        )
    return tuple(found.values())


def _versions(config: Config, run: Run) -> Iterator[str]:
    """Yields the versions that a run's model was pushed as, by itself and by rollbacks."""
    if run.pushed_as is not None:
        yield run.pushed_as.name
        for one in read_rollbacks(config):
            if one.restored == run.pushed_as.name:
                yield one.version


def _started_from(store: mlmd.MetadataStore, models: Collection[int]) -> set[int]:
    """Returns the ids of models whose training started from one of these, or from one that did."""
    found: set[int] = set()
    fresh = set(models)
    while fresh:
        trainings = {
            event.execution_id
            for event in store.get_events_by_artifact_ids(sorted(fresh))
            if event.type == _INPUT and event.path.steps[0].key == "base_model"
        }
        outputs = store.get_events_by_execution_ids(sorted(trainings)) if trainings else []
        made = {
            event.artifact_id
            for event in outputs
            if event.type == _OUTPUT and event.path.steps[0].key == "model"
        }
        fresh = made - found - set(models)
        found |= fresh
    return found
