"""How many models were measured on the same test pictures, as the runner's metadata have it.

Each choice between models that were measured on the same pictures fits them a little. No test of
one model can see that: it is counted and said.
"""

import hashlib
from typing import Final

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx.types import Artifact

from inception_finetune.components import features
from inception_finetune.components.example_gen.stored import read_test_examples
from inception_finetune.components.model_report.settings import TEST_USE

# Properties of the report's artifact, beside `TEST_USE`.
_PICTURES: Final = "test_pictures"  # sha256 of the pictures
_MODEL: Final = "model"  # the id of the model that was measured on them


def count_use(
    metadata_file: str | None, examples_uri: str, model: Artifact, report: Artifact
) -> int | None:
    """The use's number, 1 for the first model, and notes it as properties of `report`.

    A model that is reported again keeps its number. Reports count whose files were removed, and
    those of models that the gate refused.

    Args:
      metadata_file: the runner's SQLite file, None where it has none.
      examples_uri: the artifact that the test pictures are read from.
      model: the one that was measured.
      report: the artifact of its report.

    Returns:
      None where nothing is noted.
    """
    if metadata_file is None:
        return None
    pictures = _fingerprint(examples_uri)
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = metadata_file
    connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    noted = [
        artifact.custom_properties
        for artifact in mlmd.MetadataStore(connection).get_artifacts_by_type(report.type_name)
        if artifact.custom_properties[_PICTURES].string_value == pictures
    ]
    uses = {one[_MODEL].int_value: one[TEST_USE].int_value for one in noted}
    use = int(uses.get(model.id, len(uses) + 1))
    report.set_string_custom_property(_PICTURES, pictures)
    report.set_int_custom_property(_MODEL, model.id)
    report.set_int_custom_property(TEST_USE, use)
    return use


def _fingerprint(examples_uri: str) -> str:
    """sha256 of the test pictures' bytes, in whatever order and under whatever names they lie."""
    digests = []
    for _, feature in read_test_examples(examples_uri):
        [encoded] = feature[features.IMAGE_ENCODED].bytes_list.value
        digests.append(hashlib.sha256(encoded).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()
