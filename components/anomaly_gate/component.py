"""Stops the run when ExampleValidator reports an anomaly: TFX itself only records it."""

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from inception_finetune.components.errors import UserError

ANOMALIES_FILE = "SchemaDiff.pb"  # as ExampleValidator names it, in each split's folder


@component
def AnomalyGate(  # noqa: N802 - TFX component names are classes' names
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    code_fingerprint: Parameter[str],
) -> None:
    """Fails if an example does not fit the schema.

    Args:
      anomalies: ExampleValidator's output.
      code_fingerprint: of this step's code; another one does not take a cached result.

    Raises:
      UserError: names split, feature and TFDV's reason of every anomaly.
    """
    del code_fingerprint
    splits = artifact_utils.decode_split_names(anomalies.split_names)
    problems = []
    for split in splits:
        for feature, description in read_anomalies(anomalies.uri, split).items():
            problems.append(f"{split}: {feature}: {description}")
    if problems:
        raise UserError(
            f"Examples do not fit the schema ({len(problems)} anomalies in all): "
            f"{'; '.join(problems)}. Correct the dataset and convert it again."
        )


def read_anomalies(uri: str, split: str) -> dict[str, str]:
    """Reads TFDV's reasons from ExampleValidator's artifact.

    Args:
      uri: of the artifact.
      split: name of a split.

    Returns:
      The description of each anomaly, by feature.
    """
    with fileio.open(f"{uri}/Split-{split}/{ANOMALIES_FILE}", "rb") as file:
        anomalies = anomalies_pb2.Anomalies.FromString(file.read()).anomaly_info
    return {feature: anomaly.description for feature, anomaly in anomalies.items()}
