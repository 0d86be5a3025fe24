"""InfraValidator, a TFX component: only what a real server can serve is pushed.

TFX's own InfraValidator makes the same artifact, and needs Docker or Kubernetes for it.
"""

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.example_gen.stored import read_test_examples
from inception_finetune.components.infra_validator.check import StoredAnswer, check_server
from inception_finetune.components.infra_validator.settings import (
    BLESSED,
    MODEL_ID,
    RESULT,
    InfraSettings,
)
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.io.record_index import order_key
from inception_finetune.components.test_predictions.store import read_predictions

# Files by which TFX's own component says the same.
_MARKS = {True: "INFRA_BLESSED", False: "INFRA_NOT_BLESSED"}


@component
def InfraValidator(  # noqa: N802 - TFX component names are classes' names
    model: InputArtifact[standard_artifacts.Model],
    examples: InputArtifact[standard_artifacts.Examples],
    predictions: InputArtifact[standard_artifacts.Examples],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    settings: Parameter[str],
) -> None:
    """Asks `model` about test pictures through a server, and compares with `predictions`.

    `settings` is an `InfraSettings` as JSON. A model that is refused is no failure: `blessing` says
    so, to Pusher by the property that TFX's own has, and to people in the file `RESULT`.

    Raises:
      UserError: the server's program is not there, or the test pictures are gone.
    """
    chosen = InfraSettings.model_validate_json(settings)
    pictures = list(_pictures(examples.uri, predictions.uri, chosen.infra.pictures))
    with scratch_folder("infra-") as scratch:
        directory = Path(path_utils.serving_model_path(model.uri))
        found = check_server(directory, pictures, chosen.name, chosen.infra, scratch)
    for name, text in ((RESULT, found.model_dump_json(indent=1)), (_MARKS[found.blessed], "")):
        with tf.io.gfile.GFile(f"{blessing.uri}/{name}", "w") as file:
            file.write(text)
    blessing.set_int_custom_property(BLESSED, int(found.blessed))
    blessing.set_int_custom_property(MODEL_ID, model.id)


def _pictures(examples_uri: str, predictions_uri: str, count: int) -> Iterator[StoredAnswer]:
    """Some of the test pictures, the same ones for the same data."""
    stored = read_predictions(predictions_uri)
    places = {identity: place for place, identity in enumerate(stored.ids)}
    wanted = set(sorted(places, key=lambda identity: order_key(identity.encode()))[:count])
    for identity, feature in read_test_examples(examples_uri, wanted):
        wanted.discard(identity)
        [encoded] = feature[features.IMAGE_ENCODED].bytes_list.value
        yield StoredAnswer(identity, encoded, stored.candidate[places[identity]])
    if wanted:
        raise UserError(
            f"{len(wanted)} test pictures of {predictions_uri} are not in {examples_uri}: files "
            "were removed. Run again."
        )
