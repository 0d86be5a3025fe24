"""TFX's entry to training, by dotted path ``trainer.run_fn.run_fn``: the only reader of FnArgs."""

import json
import tempfile
from pathlib import Path

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from tfx.components.trainer.fn_args_utils import FnArgs

from components import features
from components.backbone import cut
from components.backbone.load import load_backbone
from trainer import checkpoints, devices, fit, input_fn, model, signatures
from trainer.provenance import provenance
from trainer.settings import TrainerSettings
from trainer.small_cnn import build_small_cnn

# TensorFlow Serving's name for files beside a SavedModel that it must leave alone.
EXTRA = "assets.extra"


def run_fn(fn_args: FnArgs) -> None:
    """Trains the upper blocks and the head, and exports the whole model.

    Raises:
      UserError: the backbone on disk is not the one that was configured, the train split is
        smaller than one batch, an example is damaged, or the loss is not finite.
    """
    settings = TrainerSettings.model_validate(fn_args.custom_config)
    strategy = devices.choose_strategy(settings.training.devices)
    chief = devices.is_chief(strategy)
    keras.utils.set_random_seed(settings.training.seed)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    with tempfile.TemporaryDirectory(prefix="trainer-") as scratch:
        train, validation = (
            input_fn.open_source(files, split, transform, Path(scratch), views)
            for files, split, views in (
                (fn_args.train_files, features.TRAIN, settings.views),
                (fn_args.eval_files, features.VALIDATION, settings.views[:1]),
            )
        )
        pictures = input_fn.open_pictures(
            fn_args.eval_files, features.VALIDATION, transform, Path(scratch)
        )
        # All workers must save, and only one of them where it counts.
        place = checkpoints.run_directory(
            settings.checkpoints if chief else f"{scratch}/checkpoints",
            [settings.model_dump_json(), fn_args.transform_graph_path, *fn_args.train_files],
        )
        with strategy.scope():
            classifier = _classifier(settings)
            try:
                fit.fit(classifier, train, validation, pictures, settings, place)
            except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
                raise train.damage() or validation.damage() or error from error
        target = fn_args.serving_model_dir if chief else f"{scratch}/model"
        serving = signatures.ServingModel(classifier.network, transform, settings.label_names)
        signatures.export(serving, target)
        if chief:
            _write_extra(Path(target) / EXTRA, settings, classifier)
            fit.publish_logs(place, fn_args.model_run_dir)


def _classifier(settings: TrainerSettings) -> model.Classifier:
    training = settings.training
    if settings.backbone_directory:
        network = load_backbone(
            Path(settings.backbone_directory),
            image_size=settings.image_size,
            batch_norm_momentum=training.batch_norm_momentum,
            expected_fingerprint=settings.backbone_fingerprint,
        ).network
    else:
        network = build_small_cnn(settings.image_size, training.seed)
    return model.build_classifier(
        network,
        settings.trainable_from,
        classes=len(settings.label_names),
        fresh=settings.fresh,
        training=training,
    )


def _write_extra(directory: Path, settings: TrainerSettings, classifier: model.Classifier) -> None:
    """What a reviewer needs to know of the model, kept with it."""
    directory.mkdir(parents=True, exist_ok=True)
    if settings.backbone_directory:
        rows = cut.variable_report(classifier.trunk, classifier.upper, classifier.head)
    else:
        rows = cut.plain_report(classifier.network)
    (directory / "variables.txt").write_text(cut.render_report(rows), "utf-8")
    (directory / "settings.json").write_text(settings.model_dump_json(indent=2), "utf-8")
    (directory / "provenance.json").write_text(json.dumps(provenance(), indent=2), "utf-8")
    labels = "".join(f"{index}:{name}\n" for index, name in enumerate(settings.label_names))
    (directory / features.LABELS_FILE).write_text(labels, "utf-8")
