"""TFX's entry point to tuning, ``trainer.tuner.tuner_fn``.

Keras Tuner expects models of Keras 3; ours are of Keras 2. So it only proposes values here and
compares scores, and each trial is an ordinary training on the same stored features.
"""

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import keras_tuner
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from rich.console import Console
from rich.table import Table
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from inception_finetune.components.evaluation import learning_curve
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.trainer import devices, examples, execution, fit
from inception_finetune.trainer.classifier import make_classifier
from inception_finetune.trainer.owned_folder import owned_folder
from inception_finetune.trainer.settings import (
    TrainerSettings,
    TunerSettings,
    Tuning,
    apply_hyperparameters,
)
from inception_finetune.trainer.warm_start import BaseModel, read_base_model, training_identity

OBJECTIVE = "val_accuracy"  # the best epoch's, on the validation split


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Creates a random search over the values that `Tuning` names.

    Args:
      fn_args: TFX's; `custom_config` is a `TunerSettings`; `base_model` the model that trials
        start from, if there is one.

    Raises:
      UserError: as the Trainer does, from the first trial that fails.
    """
    settings = TunerSettings.model_validate(fn_args.custom_config)
    keras.utils.set_random_seed(settings.trainer.training.seed)
    strategy = devices.choose_strategy()
    devices.check_batch_size(settings.trainer.training.batch_size, strategy.num_replicas_in_sync)
    base_model = read_base_model(fn_args.base_model, settings.trainer)
    resources = ExitStack()
    scratch = resources.enter_context(scratch_folder("tuner-"))
    inputs = resources.enter_context(
        examples.open_inputs(
            fn_args.train_files,
            fn_args.eval_files,
            settings.trainer,
            tft.TFTransformOutput(fn_args.transform_graph_path),
            scratch,
            fit.EMBEDDED,
        )
    )
    identity = [
        settings.tuning.model_dump_json(),
        *training_identity(settings.trainer, inputs, base_model),
    ]
    execution_settings = execution.current()
    logs = resources.enter_context(owned_folder(f"{execution_settings.work}/tuning", identity))
    search = FeatureTuner(
        settings,
        inputs,
        strategy,
        logs,
        execution_settings,
        base_model,
        working_directory=fn_args.working_dir,
    )
    return TunerFnResult(tuner=search, fit_kwargs={"resources": resources, "verbose": 0})


def search_space(tuning: Tuning, settings: TrainerSettings) -> keras_tuner.HyperParameters:
    """Returns the hyperparameters, by field of `Training`, and ``trainable_from``."""
    space = keras_tuner.HyperParameters()
    low, high = tuning.learning_rate
    space.Float("learning_rate", low, high, sampling="log")
    space.Choice("weight_decay", list(tuning.weight_decay))
    space.Choice("label_smoothing", list(tuning.label_smoothing))
    for name, values in tuning.choices.items():
        space.Choice(name, list(values))
    space.Choice("trainable_from", list(tuning.trainable_from) or [settings.trainable_from])
    return space


class FeatureTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Runs a training for each trial, and stops at the first that fails."""

    def __init__(
        self,
        settings: TunerSettings,
        inputs: examples.TrainerInputs,
        strategy: tf.distribute.Strategy,
        logs: str,
        execution_settings: execution.Execution,
        base_model: BaseModel | None = None,
        *,
        working_directory: str,
    ) -> None:
        """Prepares the search.

        Args:
          settings: of the search.
          inputs: examples that all trials share.
          strategy: that trials are trained in.
          logs: folder of the trials' logs.
          execution_settings: how trials are carried out.
          base_model: that trials start from, instead of the backbone.
          working_directory: Keras Tuner's own folder.
        """
        tuning = settings.tuning
        oracle = keras_tuner.oracles.RandomSearchOracle(
            objective=keras_tuner.Objective(OBJECTIVE, direction="max"),
            max_trials=tuning.trials,
            hyperparameters=search_space(tuning, settings.trainer),
            seed=settings.trainer.training.seed,
        )
        super().__init__(oracle, directory=working_directory, project_name="search")
        self._settings = settings
        self._inputs = inputs
        self._strategy = strategy
        self._logs = logs
        self._execution = execution_settings
        self._base_model = base_model

    def search(self, *fit_args, resources: ExitStack, **fit_kwargs) -> None:
        """Runs all trials and closes `resources`, which they need."""
        with resources:
            super().search(*fit_args, **fit_kwargs)

    def run_trial(self, trial, *fit_args, **fit_kwargs) -> dict[str, float]:
        """Runs one trial.

        Returns:
          The best epoch's validation accuracy, under `OBJECTIVE`.
        """
        hyperparameters = trial.hyperparameters.values
        values = ", ".join(f"{name} {_shown(value)}" for name, value in hyperparameters.items())
        number = f"{int(trial.trial_id) + 1}/{self._settings.tuning.trials}"
        print(f"trial {number}: {values}", file=sys.stderr, flush=True)
        try:
            return {OBJECTIVE: self._train(trial)}
        except Exception as error:
            # Keras Tuner would note other failures and go on, and the component would succeed.
            raise keras_tuner.errors.FatalError(str(error)) from error

    def _train(self, trial) -> float:
        settings = apply_hyperparameters(
            self._settings.trainer,
            {**trial.hyperparameters.values, "epochs": self._settings.tuning.epochs, "steps": None},
        )
        directory = f"{self._logs}/{trial.trial_id}"
        if Path(directory).exists():  # of the same search, when it was killed
            shutil.rmtree(directory)
        with self._strategy.scope():
            fit.fit(
                make_classifier(settings, self._base_model),
                *self._inputs,
                settings,
                directory,
                self._execution,
            )
        for name in ("state", "best"):
            shutil.rmtree(f"{directory}/{name}")
        rows = learning_curve.read_history(f"{fit.log_directory(directory)}/{learning_curve.FILE}")
        return max(row["val_accuracy"] for row in rows)

    def search_space_summary(self, extended: bool = False) -> None:
        """Prints nothing: TFX calls this, and the configuration shows it already."""

    def results_summary(self, num_trials: int = 10) -> None:
        """Prints the best trials."""
        trials = self.oracle.get_best_trials(num_trials)
        table = Table(title="best trials", title_justify="left")
        names = list(trials[0].hyperparameters.values)
        for name in ("trial", *names, "validation accuracy"):
            table.add_column(name, overflow="fold")
        for trial in trials:
            values = (_shown(trial.hyperparameters.values[name]) for name in names)
            table.add_row(f"{int(trial.trial_id) + 1}", *values, f"{trial.score:.4f}")
        Console(stderr=True).print(table)


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
