"""Which blessed model a candidate is compared with."""

from tfx import types
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types.standard_artifacts import Model, ModelBlessing


def latest_other_blessed_model(candidate: types.BaseChannel) -> Resolver:
    """The node that resolves `LatestOtherBlessedModel`."""
    return Resolver(
        strategy_class=LatestOtherBlessedModel,
        model=types.Channel(type=Model),
        model_blessing=types.Channel(type=ModelBlessing),
        candidate=candidate,
    )


class LatestOtherBlessedModel(LatestBlessedModelStrategy):
    """The latest blessed model that is not the candidate itself.

    TFX's own strategy resolves, in the run after a blessing, to the very model that is then
    evaluated: its comparison with itself says nothing, and it makes an unchanged run evaluate and
    push again.
    """

    def resolve_artifacts(
        self, store, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        candidates = input_dict["candidate"]
        candidate_ids = {artifact.id for artifact in candidates}
        others = [model for model in input_dict["model"] if model.id not in candidate_ids]
        resolved = super().resolve_artifacts(
            store, {"model": others, "model_blessing": input_dict["model_blessing"]}
        )
        return {**(resolved or {}), "candidate": candidates}
