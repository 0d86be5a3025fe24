"""TFX's entry to training, by dotted path ``trainer.run_fn.run_fn``: the only reader of FnArgs."""

import tempfile
from pathlib import Path

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from tfx.components.trainer.fn_args_utils import FnArgs

from components import features
from components.backbone import cut
from components.backbone.load import load_backbone
from components.compute_dtype import resolve_compute_dtype
from trainer import callbacks, input_fn, model, signatures
from trainer.order import TrainingOrder
from trainer.settings import TrainerSettings

# TensorFlow Serving's name for files beside a SavedModel that it must leave alone.
EXTRA = "assets.extra"


def run_fn(fn_args: FnArgs) -> None:
    """Trains the upper blocks and the head, and exports the whole model.

    Raises:
      UserError: the backbone on disk is not the one that was configured, the train split is
        smaller than one batch, or an example is damaged.
    """
    settings = TrainerSettings.model_validate(fn_args.custom_config)
    training = settings.training
    keras.utils.set_random_seed(training.seed)

    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    classifier = model.build_classifier(
        load_backbone(
            Path(settings.backbone_directory),
            image_size=settings.image_size,
            batch_norm_momentum=training.batch_norm_momentum,
            expected_fingerprint=settings.backbone_fingerprint,
        ).network,
        settings.trainable_from,
        classes=len(settings.label_names),
        fresh=settings.fresh,
        training=training,
    )
    with tempfile.TemporaryDirectory(prefix="examples-") as scratch:
        train, validation = (
            input_fn.open_source(files, split, transform, Path(scratch), views)
            for files, split, views in (
                (fn_args.train_files, features.TRAIN, settings.views),
                (fn_args.eval_files, features.VALIDATION, settings.views[:1]),
            )
        )
        try:
            _fit(classifier, train, validation, settings, fn_args.model_run_dir)
        except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
            raise train.damage() or validation.damage() or error from error
    serving = signatures.ServingModel(classifier.network, transform, settings.label_names)
    signatures.export(serving, fn_args.serving_model_dir)
    _write_extra(Path(fn_args.serving_model_dir) / EXTRA, settings, classifier)


def _fit(
    classifier: model.Classifier,
    train: input_fn.Source,
    validation: input_fn.Source,
    settings: TrainerSettings,
    log_directory: str,
) -> None:
    training = settings.training
    order = TrainingOrder(len(train), train.views, training.batch_size, training.seed)
    total_steps = training.steps or (training.epochs or 1) * order.steps_per_epoch
    trainee = model.prepare_training(
        classifier,
        resolve_compute_dtype(settings.compute_dtype),
        from_features=isinstance(train, input_fn.FeatureSource),
    )
    model.compile_classifier(trainee.network, training, total_steps)
    trainee.network.fit(
        input_fn.training_batches(train, order, 0, total_steps),
        validation_data=input_fn.evaluation_batches(validation, training.batch_size),
        epochs=-(-total_steps // order.steps_per_epoch),
        steps_per_epoch=min(order.steps_per_epoch, total_steps),
        callbacks=[
            callbacks.StopAfter(total_steps),
            callbacks.ProgressBar(total_steps, training.batch_size),
            keras.callbacks.TensorBoard(log_directory, write_graph=False),
        ],
        verbose=0,
    )
    model.finish_training(trainee, classifier)


def _write_extra(directory: Path, settings: TrainerSettings, classifier: model.Classifier) -> None:
    """What a reviewer needs to know of the model, kept with it."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = cut.variable_report(classifier.trunk, classifier.upper, classifier.head)
    (directory / "variables.txt").write_text(cut.render_report(rows), "utf-8")
    (directory / "settings.json").write_text(settings.model_dump_json(indent=2), "utf-8")
    labels = "".join(f"{index}:{name}\n" for index, name in enumerate(settings.label_names))
    (directory / features.LABELS_FILE).write_text(labels, "utf-8")
