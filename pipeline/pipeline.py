"""All the wiring, in one function. Knows neither runners nor tensors."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from tfx.components import (
    Evaluator,
    ExampleValidator,
    StatisticsGen,
    Trainer,
    Transform,
    Tuner,
)
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2, pusher_pb2, trainer_pb2
from tfx.types import BaseChannel

from inception_finetune.components import features
from inception_finetune.components.anomaly_gate.component import AnomalyGate
from inception_finetune.components.backbone.network import explained_block
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.dataset.class_counts import counting_options
from inception_finetune.components.evaluation.eval_config import SIGNATURE, eval_config
from inception_finetune.components.example_gen.component import ImportExampleGen
from inception_finetune.components.export.component import Export
from inception_finetune.components.export.settings import ExportSettings
from inception_finetune.components.infra_validator.component import InfraValidator
from inception_finetune.components.infra_validator.settings import NONE, SERVE, InfraSettings
from inception_finetune.components.model_report.component import ModelReport
from inception_finetune.components.model_report.settings import ReportSettings
from inception_finetune.components.pusher.component import Pusher
from inception_finetune.components.steps import Step
from inception_finetune.components.test_predictions.component import TestPredictions
from inception_finetune.components.test_predictions.settings import PredictionSettings
from inception_finetune.components.trunk_features.component import TrunkFeatures
from inception_finetune.components.trunk_features.settings import TrunkSettings
from inception_finetune.pipeline.baseline import latest_other_blessed_model
from inception_finetune.pipeline.beam_options import pipeline_arguments, step_arguments
from inception_finetune.pipeline.code_fingerprint import code_fingerprint, server_fingerprint
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.inputs import Inputs
from inception_finetune.pipeline.warm_start import last_blessed_start
from inception_finetune.trainer.execution import Execution
from inception_finetune.trainer.settings import (
    ConfidenceSection,
    TrainerSettings,
    TunerSettings,
)


def create_pipeline(
    config: Config,
    inputs: Inputs,
    make_baseline: Callable[[BaseChannel], BaseNode] = latest_other_blessed_model,
    make_warm_start: Callable[[BaseChannel, TrainerSettings, int], BaseNode] = last_blessed_start,
) -> Pipeline:
    """From converted TFRecords to a blessed, pushed model.

    `make_baseline` makes the node whose output `model` the candidate, its argument, is compared
    with; or there is none, and the output `incomparable_model` is why. `make_warm_start` makes the
    node whose output `model`, if there is one, the training starts from; its arguments are the
    transform graph, the Trainer's settings, and `training.cold_every` or 0.
    """
    example_gen = ImportExampleGen(
        input_base=inputs.records,
        input_config=example_gen_pb2.Input(
            splits=[
                example_gen_pb2.Input.Split(name=split, pattern=f"{split}-*.tfrecord")
                for split in features.SPLITS
            ]
        ),
        code_fingerprint=code_fingerprint(Step.EXAMPLE_GEN),
    )
    examples = example_gen.outputs["examples"]
    schema_gen = ImportSchemaGen(schema_file=inputs.schema_file)
    schema = schema_gen.outputs["schema"]
    # With the schema, labels are counted as classes and not averaged as numbers.
    statistics_gen = StatisticsGen(
        examples=examples, schema=schema, stats_options=counting_options(len(inputs.label_names))
    )
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema
    )
    anomaly_gate = AnomalyGate(
        anomalies=example_validator.outputs["anomalies"],
        code_fingerprint=code_fingerprint(Step.ANOMALY_GATE),
    )

    # Only the graph: an image of 299 pixels would take 1 MB, a CIFAR-10 record takes 2 KB.
    transform = Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn="inception_finetune.components.image.transform.preprocessing_fn",
        materialize=False,
        disable_statistics=True,
        disable_analyzer_cache=True,
        custom_config={
            "size": config.image.size,
            "central_crop": config.image.central_crop,
            "code_fingerprint": code_fingerprint(Step.TRANSFORM),
        },
    )
    transform.add_upstream_node(anomaly_gate)

    trainer_settings = _trainer_settings(config, inputs)
    warm_start = []
    if config.training.start_from == "blessed":
        transform_graph = transform.outputs["transform_graph"]
        cold_every = config.training.cold_every or 0
        node = make_warm_start(transform_graph, trainer_settings, cold_every)
        warm_start = [node.with_id(Step.WARM_START)]

    trunk_features = []
    training_examples = examples
    if config.feature_cache:
        trunk_features = [
            TrunkFeatures(
                examples=examples,
                transform_graph=transform.outputs["transform_graph"],
                settings=_trunk_settings(config, inputs).model_dump_json(),
            )
        ]
        training_examples = trunk_features[0].outputs["trunk_features"]
    training_inputs = {
        "examples": training_examples,
        "transform_graph": transform.outputs["transform_graph"],
        "schema": schema,
        "train_args": trainer_pb2.TrainArgs(splits=[features.TRAIN]),
        "eval_args": trainer_pb2.EvalArgs(splits=[features.VALIDATION]),
        "base_model": warm_start[0].outputs["model"] if warm_start else None,
    }
    tuner = []
    if config.tuning.trials:
        # What is fitted to the answers of a trained model says nothing of how to train it.
        searched = trainer_settings.model_copy(
            update={"confidence": ConfidenceSection(), "explained_block": None}
        )
        tuner_settings = TunerSettings(
            trainer=searched,
            tuning=config.tuning,
            code_fingerprint=code_fingerprint(Step.TUNER),
        )
        tuner = [
            Tuner(
                tuner_fn="inception_finetune.trainer.tuner.tuner_fn",
                custom_config=tuner_settings.model_dump(mode="json"),
                **training_inputs,
            )
        ]
    trainer = Trainer(
        run_fn="inception_finetune.trainer.run_fn.run_fn",
        hyperparameters=tuner[0].outputs["best_hyperparameters"] if tuner else None,
        custom_config=trainer_settings.model_dump(mode="json"),
        **training_inputs,
    )
    baseline = make_baseline(trainer.outputs["model"]).with_id(Step.BASELINE)
    test_predictions = TestPredictions(
        examples=examples,
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        incomparable_model=baseline.outputs["incomparable_model"],
        settings=PredictionSettings(
            signature=SIGNATURE,
            batch_size=config.gate.batch_size,
            code_fingerprint=code_fingerprint(Step.TEST_PREDICTIONS),
        ).model_dump_json(),
    )
    export = []
    if config.export.formats:
        export_settings = ExportSettings(
            export=config.export, code_fingerprint=code_fingerprint(Step.EXPORT)
        )
        export = [
            Export(
                examples=examples,
                model=trainer.outputs["model"],
                settings=export_settings.model_dump_json(),
            )
        ]
    exports = export[0].outputs["exports"] if export else None
    evaluator = Evaluator(
        examples=test_predictions.outputs["predictions"],
        example_splits=[features.TEST],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        eval_config=eval_config(
            config.gate,
            code_fingerprint(Step.EVALUATOR),
            has_sets=config.confidence.coverage is not None,
        ),
    )
    infra_validator = []
    if config.infra.server != NONE:
        infra_validator = [
            InfraValidator(
                model=trainer.outputs["model"],
                examples=examples,
                predictions=test_predictions.outputs["predictions"],
                settings=_infra_settings(config).model_dump_json(),
            )
        ]
    infra_blessing = infra_validator[0].outputs["blessing"] if infra_validator else None
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=infra_blessing,
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=inputs.serving)
        ),
        exports=exports,
    )
    model_report = ModelReport(
        examples=examples,
        statistics=statistics_gen.outputs["statistics"],
        anomalies=example_validator.outputs["anomalies"],
        transform_graph=transform.outputs["transform_graph"],
        trunk_features=trunk_features[0].outputs["trunk_features"] if trunk_features else None,
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        predictions=test_predictions.outputs["predictions"],
        evaluation=evaluator.outputs["evaluation"],
        infra_blessing=infra_blessing,
        exports=exports,
        settings=_report_settings(config, inputs).model_dump_json(),
    )
    components = [
        example_gen,
        statistics_gen,
        schema_gen,
        example_validator,
        anomaly_gate,
        transform,
        *warm_start,
        *trunk_features,
        *tuner,
        trainer,
        baseline,
        test_predictions,
        *export,
        evaluator,
        *infra_validator,
        model_report,
        pusher,
    ]
    for component in components:
        if arguments := step_arguments(config.beam, component.id):
            component.with_beam_pipeline_args(arguments)
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(Path(config.root) / "artifacts"),
        metadata_connection_config=(
            metadata.sqlite_metadata_connection_config(inputs.metadata) if inputs.metadata else None
        ),
        enable_cache=True,
        beam_pipeline_args=pipeline_arguments(config.beam),
        components=components,
    )


def execution(config: Config) -> Execution:
    """How trainings of the pipeline are carried out; whoever runs it puts it in the environment."""
    return Execution(
        work=str(Path(config.root)),
        checkpoint_every=config.training.checkpoint_every,
        log_every=config.training.log_every,
    )


def _trunk_settings(config: Config, inputs: Inputs) -> TrunkSettings:
    return TrunkSettings(
        network=inputs.network,
        backbone_directory=inputs.backbone,
        backbone_fingerprint=inputs.backbone_fingerprint,
        trainable_from=config.backbone.trainable_from,
        image_size=config.image.size,
        compute_dtype=config.compute_dtype,
        views=config.image.train_views,
        code_fingerprint=code_fingerprint(Step.TRUNK_FEATURES),
        transform_fingerprint=hashlib.sha256(
            f"{config.image.central_crop} {code_fingerprint(Step.TRANSFORM)}".encode()
        ).hexdigest(),
    )


def _trainer_settings(config: Config, inputs: Inputs) -> TrainerSettings:
    return TrainerSettings(
        training=config.training.identity,
        image_size=config.image.size,
        central_crop=config.image.central_crop,
        network=inputs.network,
        backbone_directory=inputs.backbone,
        backbone_fingerprint=inputs.backbone_fingerprint,
        trainable_from=config.backbone.trainable_from,
        cut_before=config.backbone.trainable_from,
        fresh=config.backbone.fresh,
        compute_dtype=config.compute_dtype,
        views=config.image.train_views,
        served_views=config.image.served_views,
        label_names=inputs.label_names,
        confidence=config.confidence,
        explained_block=config.explain.block
        and explained_block(NETWORKS[inputs.network], config.image.size, config.explain.block),
        code_fingerprint=code_fingerprint(Step.TRAINER),
    )


def _infra_settings(config: Config) -> InfraSettings:
    return InfraSettings(
        name=config.name,
        infra=config.infra,
        code_fingerprint=code_fingerprint(Step.INFRA_VALIDATOR),
        server_fingerprint=server_fingerprint() if config.infra.server == SERVE else "",
    )


def _report_settings(config: Config, inputs: Inputs) -> ReportSettings:
    return ReportSettings(
        name=config.name,
        label_names=inputs.label_names,
        report=config.report,
        # Where and how it ran is no part of what the model is.
        config={
            **config.model_dump(
                mode="json",
                exclude={"root", "cache", "runner", "beam", "kubeflow", "report", "watch"},
            ),
            "backbone": {**config.backbone.model_dump(mode="json"), "network": inputs.network},
            "training": config.training.identity.model_dump(mode="json"),
        },
        backbone_fingerprint=inputs.backbone_fingerprint,
        metadata=inputs.metadata,
        code_fingerprint=code_fingerprint(Step.MODEL_REPORT),
    )
