"""TFX's entry point to training, ``trainer.run_fn.run_fn``: the only reader of its FnArgs."""

import sys
from pathlib import Path

import tensorflow_transform as tft
import tf_keras as keras
from tfx.components.trainer.fn_args_utils import FnArgs

from inception_finetune.components import features
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.shown_text import visible
from inception_finetune.trainer import devices, examples, execution, fit, signatures
from inception_finetune.trainer.classifier import make_classifier
from inception_finetune.trainer.confidence import fit_confidence
from inception_finetune.trainer.explanation import GradCam
from inception_finetune.trainer.extra_assets import write_extra_assets
from inception_finetune.trainer.owned_folder import owned_folder
from inception_finetune.trainer.settings import TrainerSettings, apply_hyperparameters
from inception_finetune.trainer.warm_start import read_base_model, training_identity


def run_fn(fn_args: FnArgs) -> None:
    """Trains the upper blocks and the head, and exports the whole model.

    Args:
      fn_args: TFX's; `custom_config` is a `TrainerSettings`; `base_model` the model to start from,
        if there is one.

    Raises:
      UserError: the backbone on disk is not the one that was configured, the model to start from
        does not fit, the train split is smaller than one batch, a batch cannot be divided among
        the devices, an example is damaged, or the loss is not finite.
    """
    settings = TrainerSettings.model_validate(fn_args.custom_config)
    if fn_args.hyperparameters:
        settings = apply_hyperparameters(settings, fn_args.hyperparameters["values"])
    execution_settings = execution.current()
    strategy = devices.choose_strategy()
    devices.check_batch_size(settings.training.batch_size, strategy.num_replicas_in_sync)
    keras.utils.set_random_seed(settings.training.seed)
    base_model = read_base_model(fn_args.base_model, settings)
    start = base_model.start(settings.label_names) if base_model else None
    if start:
        print(visible(start.sentence), file=sys.stderr, flush=True)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    with (
        scratch_folder("trainer-") as scratch,
        examples.open_inputs(
            fn_args.train_files,
            fn_args.eval_files,
            settings,
            transform,
            scratch,
            fit.EMBEDDED,
        ) as inputs,
        owned_folder(
            f"{execution_settings.work}/checkpoints",
            training_identity(settings, inputs, base_model),
        ) as place,
    ):
        with strategy.scope():
            classifier = make_classifier(settings, base_model)
            trainee = fit.fit(
                classifier,
                *inputs,
                settings,
                place,
                execution_settings,
            )
        said, facts = fit_confidence(trainee, inputs.train, inputs.validation, settings)
        block = settings.explained_block
        target = Path(fn_args.serving_model_dir)
        serving = signatures.ServingModel(
            classifier.embedding,
            transform,
            settings.label_names,
            settings.served_views,
            said,
            GradCam(*classifier.split_after(block)) if block else None,
            central_crop=settings.central_crop,
        )
        signatures.export(serving, str(target))
        write_extra_assets(target / features.EXTRA_ASSETS, settings, classifier, facts, start)
        fit.publish_logs(place, fn_args.model_run_dir)
