"""Models that InfraValidator has refused: they never served, and may be asked again."""

from typing import Final

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx.types.standard_artifacts import InfraBlessing

from inception_finetune.components.infra_validator.settings import BLESSED, MODEL_ID
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.runs import open_store

_LIVE: Final = metadata_store_pb2.Artifact.LIVE


def find_refused_models(store: mlmd.MetadataStore) -> set[int]:
    """Returns the ids of models whose last check ended in a refusal.

    Args:
      store: the metadata.
    """
    last: dict[int, bool] = {}
    for artifact in sorted(_blessings(store), key=lambda one: int(one.id)):
        properties = artifact.custom_properties
        last[properties[MODEL_ID].int_value] = properties[BLESSED].int_value == 1
    return {model for model, blessed in last.items() if not blessed}


def forget_refusals(config: Config) -> None:
    """Has refused models checked again where they come up again.

    TFX would reuse the refusal. But what a server takes is the machine's matter too: a limit of
    time that was too short while others worked there must not hold for ever.

    Args:
      config: of the pipeline.
    """
    store = open_store(config)
    if store is None:
        return
    refused = [
        artifact
        for artifact in _blessings(store)
        if artifact.state == _LIVE and artifact.custom_properties[BLESSED].int_value != 1
    ]
    for artifact in refused:
        artifact.state = metadata_store_pb2.Artifact.DELETED
    if refused:
        store.put_artifacts(refused)


def _blessings(store: mlmd.MetadataStore) -> list[metadata_store_pb2.Artifact]:
    return list(store.get_artifacts_by_type(InfraBlessing.TYPE_NAME))
