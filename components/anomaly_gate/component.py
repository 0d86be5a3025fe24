"""Stops the run when ExampleValidator found an anomaly: TFX itself only writes it down."""

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from inception_finetune.components.errors import UserError

ANOMALIES_FILE = "SchemaDiff.pb"  # as ExampleValidator names it, in each split's folder


@component
def AnomalyGate(  # noqa: N802 - TFX component names are classes' names
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
) -> None:
    """Fails with split, feature and TFDV's reason where an example does not fit the schema."""
    splits = artifact_utils.decode_split_names(anomalies.split_names)
    problems = []
    for split in splits:
        for feature, description in read_anomalies(anomalies.uri, split).items():
            problems.append(f"{split}: {feature}: {description}")
    if problems:
        raise UserError(
            f"every example must fit the schema. Found {len(problems)} anomalies: "
            f"{'; '.join(problems)}; mend the dataset and convert it again"
        )


def read_anomalies(uri: str, split: str) -> dict[str, str]:
    """TFDV's reasons by feature, in what ExampleValidator wrote to its artifact at `uri`."""
    with fileio.open(f"{uri}/Split-{split}/{ANOMALIES_FILE}", "rb") as file:
        anomalies = anomalies_pb2.Anomalies.FromString(file.read()).anomaly_info
    return {feature: anomaly.description for feature, anomaly in anomalies.items()}
