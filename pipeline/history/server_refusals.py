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
    """Returns the ids of models that were checked, and never with success: they never served.

    One that was refused later, within narrower bounds, serves on.

    Args:
      store: the metadata.
    """
    checked = [
        (one.custom_properties[MODEL_ID].int_value, one.custom_properties[BLESSED].int_value == 1)
        for one in _blessings(store)
    ]
    return {model for model, _ in checked} - {model for model, blessed in checked if blessed}


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
