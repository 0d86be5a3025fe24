"""The names of the pipeline's steps, as TFX, its metadata store and KFP have them."""

from enum import StrEnum


class Step(StrEnum):
    """A node of the DAG; the value is its id."""

    EXAMPLE_GEN = "ImportExampleGen"
    STATISTICS_GEN = "StatisticsGen"
    SCHEMA_GEN = "ImportSchemaGen"
    EXAMPLE_VALIDATOR = "ExampleValidator"
    ANOMALY_GATE = "AnomalyGate"
    TRANSFORM = "Transform"
    TRUNK_FEATURES = "TrunkFeatures"
    WARM_START = "warm_start"
    TUNER = "Tuner"
    TRAINER = "Trainer"
    BASELINE = "baseline"
    TEST_PREDICTIONS = "TestPredictions"
    EXPORT = "Export"
    EVALUATOR = "Evaluator"
    INFRA_VALIDATOR = "InfraValidator"
    MODEL_REPORT = "ModelReport"
    PUSHER = "Pusher"
