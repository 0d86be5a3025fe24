"""Which blessed model a candidate is compared with."""

from pathlib import Path

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types.standard_artifacts import Model, ModelBlessing
from tfx.utils import path_utils

from inception_finetune.components.evaluation.label_names import why_incomparable
from inception_finetune.components.pusher.serving_folder import WITHDRAWN
from inception_finetune.pipeline.history.server_refusals import find_refused_models


def latest_other_blessed_model(candidate: types.BaseChannel) -> Resolver:
    """The node that resolves `LatestOtherBlessedModel`."""
    return Resolver(
        strategy_class=LatestOtherBlessedModel,
        model=types.Channel(type=Model),
        model_blessing=types.Channel(type=ModelBlessing),
        incomparable_model=types.Channel(type=Model),
        candidate=candidate,
    )


class LatestOtherBlessedModel(ResolverStrategy):
    """The latest blessed model that is not the candidate itself: as `model` or not comparable.

    TFX's own strategy resolves, in the run after a blessing, to the very model that is then
    evaluated: its comparison with itself says nothing, and it makes an unchanged run evaluate and
    push again.

    Models that `rollback` withdrew or InfraValidator refused are passed over: what serves is an
    older one.

    Where the latest one knows other classes it becomes `incomparable_model`, and there is no
    `model`. No older one is looked for: it is not what serves, and nobody would expect the bound
    to be against it.
    """

    def resolve_artifacts(
        self, store, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """The artifacts by key; lists are empty where there is nothing to compare with."""
        candidates = input_dict["candidate"]
        candidate_ids = {artifact.id for artifact in candidates}
        others = [model for model in input_dict["model"] if model.id not in candidate_ids]
        latest = latest_blessed(store, others, input_dict["model_blessing"])
        incomparable = [
            model
            for model in latest["model"]
            for candidate in candidates
            if why_incomparable(exported(candidate), exported(model))
        ]
        if incomparable:
            latest["model"] = []
        return {**latest, "incomparable_model": incomparable, "candidate": candidates}


def latest_blessed(
    store: mlmd.MetadataStore | None, models: list[types.Artifact], blessings: list[types.Artifact]
) -> dict[str, list[types.Artifact]]:
    """Finds the latest blessed model that serves: neither withdrawn nor refused by a server check.

    Args:
      store: the metadata; None where there are none yet.
      models: to choose from.
      blessings: of these and of others.

    Returns:
      ``model`` and its ``model_blessing``, or empty lists.
    """
    refused = set() if store is None else find_refused_models(store)
    serving = [
        model
        for model in models
        if model.id not in refused and not model.has_custom_property(WITHDRAWN)
    ]
    resolved = LatestBlessedModelStrategy().resolve_artifacts(
        store, {"model": serving, "model_blessing": blessings}
    )
    return {"model": [], "model_blessing": [], **(resolved or {})}


def exported(model: types.Artifact) -> Path:
    """Returns the folder of a model's SavedModel."""
    return Path(path_utils.serving_model_path(model.uri))
