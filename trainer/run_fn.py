"""TFX's entry to training, by dotted path ``trainer.run_fn.run_fn``: the only reader of FnArgs."""

from pathlib import Path

import tensorflow_transform as tft
import tf_keras as keras
from tfx.components.trainer.fn_args_utils import FnArgs

from components import features
from components.backbone import cut
from components.backbone.load import load_backbone
from components.errors import UserError
from trainer import callbacks, input_fn, model, signatures
from trainer.settings import TrainerSettings

# TensorFlow Serving's name for files beside a SavedModel that it must leave alone.
EXTRA = "assets.extra"


def run_fn(fn_args: FnArgs) -> None:
    """Trains the upper blocks and the head, and exports the whole model.

    Raises:
      UserError: the backbone on disk is not the one that was configured, or the train split is
        smaller than one batch.
    """
    settings = TrainerSettings.model_validate(fn_args.custom_config)
    training = settings.training
    keras.utils.set_random_seed(training.seed)

    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    classifier = model.build_classifier(
        _load_backbone(settings),
        settings.trainable_from,
        classes=len(settings.label_names),
        fresh=settings.fresh,
        training=training,
    )
    examples = input_fn.count_examples(fn_args.train_files)
    steps_per_epoch = examples // training.batch_size
    if steps_per_epoch == 0:
        raise UserError(
            "the train split must fill one batch. "
            f"Received: {examples} examples, training.batch_size={training.batch_size}; "
            "lower training.batch_size"
        )
    total_steps = training.steps or (training.epochs or 1) * steps_per_epoch
    model.compile_classifier(classifier.network, training, total_steps)

    def read(files: list[str], *, for_training: bool):
        return input_fn.read_batches(
            files,
            transform,
            batch_size=training.batch_size,
            training=for_training,
            shuffle_buffer=training.shuffle_buffer,
            seed=training.seed,
            flip_left_right=training.flip_left_right,
        )

    classifier.network.fit(
        read(fn_args.train_files, for_training=True),
        validation_data=read(fn_args.eval_files, for_training=False),
        epochs=-(-total_steps // steps_per_epoch),
        steps_per_epoch=min(steps_per_epoch, total_steps),
        callbacks=[
            callbacks.StopAfter(total_steps),
            callbacks.ProgressBar(total_steps, training.batch_size),
            keras.callbacks.TensorBoard(fn_args.model_run_dir, write_graph=False),
        ],
        verbose=0,
    )
    serving = signatures.ServingModel(classifier.network, transform, settings.label_names)
    signatures.export(serving, fn_args.serving_model_dir)
    _write_extra(Path(fn_args.serving_model_dir) / EXTRA, settings, classifier)


def _load_backbone(settings: TrainerSettings) -> keras.Model:
    backbone = load_backbone(
        Path(settings.backbone_directory),
        image_size=settings.image_size,
        batch_norm_momentum=settings.training.batch_norm_momentum,
    )
    if backbone.fingerprint != settings.backbone_fingerprint:
        raise UserError(
            f"the backbone must not change during a run. {settings.backbone_directory} has "
            f"fingerprint {backbone.fingerprint[:12]}, configured was "
            f"{settings.backbone_fingerprint[:12]}; start the run again"
        )
    return backbone.network


def _write_extra(directory: Path, settings: TrainerSettings, classifier: model.Classifier) -> None:
    """What a reviewer needs to know of the model, kept with it."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = cut.variable_report(classifier.trunk, classifier.upper, classifier.head)
    (directory / "variables.txt").write_text(cut.render_report(rows), "utf-8")
    (directory / "settings.json").write_text(settings.model_dump_json(indent=2), "utf-8")
    labels = "".join(f"{index}:{name}\n" for index, name in enumerate(settings.label_names))
    (directory / features.LABELS_FILE).write_text(labels, "utf-8")
