"""Settings that identify a training: one typed object, passed in TFX's custom_config as JSON."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from inception_finetune.components.backbone.compute_dtype import ComputeDtype
from inception_finetune.components.backbone.network import AUTO_BLOCK
from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.settings import Fraction, Section

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_LONGEST_MOMENTUM = 0.99  # of moving statistics, unless another is given


class Training(Section):
    """Settings that the trained model depends on."""

    epochs: int | None = Field(5, ge=1)  # passes over the train split; or give steps
    steps: int | None = Field(None, ge=1)  # optimizer steps; set epochs to null
    batch_size: int = Field(64, ge=2, le=4096)  # images a step; batch norm needs two
    # AdamW's weight decay is decoupled; the others' is a part of the loss, as in TF-Slim.
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: _Positive = 5e-4  # the highest, of the head
    momentum: Fraction = 0.9  # Nesterov's, for sgd
    # Rate of each trained block as a share of that of the block after it.
    layer_decay: float = Field(1.0, gt=0, le=1)
    unfreeze_after: int = Field(0, ge=0)  # epochs in which the head alone is trained
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_fraction: Fraction = 0.05  # share of the steps with a rising rate, for cosine
    dropout: Fraction = 0.3  # before the classifier
    label_smoothing: Fraction = 0.0
    mixup: _NotNegative = 0.0  # alpha of the beta distribution of shares; 0 is off
    cutmix: _NotNegative = 0.0  # the same; with both, each example has one of them
    # Weights of the classes in the loss: by their number of train images, or by name.
    class_weights: Literal["none", "balanced", "effective"] | dict[str, _Positive] = "none"
    balanced_sampling: float = Field(0.0, ge=0, le=1)  # 0: as they are; 1: classes equally often
    focal_gamma: _NotNegative = 0.0  # of the focal loss; 0 is cross-entropy
    weight_decay: _NotNegative = 0.0  # times half the squared kernels
    clip_norm: float | None = Field(None, gt=0, allow_inf_nan=False)  # of all gradients together
    # Of the average of the weights over the steps, which then is what is validated and exported.
    ema_momentum: float | None = Field(None, ge=0, lt=1)
    # Of the trained blocks' moving statistics, per step. "auto": the fewer steps, the lower.
    batch_norm_momentum: Fraction | Literal["auto"] = "auto"
    # Epochs without a better validation accuracy, or the same at a lower loss, after which to stop.
    patience: int | None = Field(None, ge=1)
    restore_best: bool = True  # export the epoch that was best on validation, not the last one
    seed: int = Field(0, ge=0, lt=2**31)  # initialisation, order of the images, all that is drawn

    def batch_norm_momentum_over(self, steps: int) -> float:
        """Returns the momentum of the moving statistics for so many steps.

        With one of 0.99, a training of 33 steps would leave statistics that are to 72 % those of
        the backbone's own pictures. "auto" is the rule by which `tf.train.ExponentialMovingAverage`
        lowers its decay for few updates, (1 + n) / (10 + n), at most 0.99: after n steps, at most
        a few parts in 10,000 of the first statistics are left.
        """
        if self.batch_norm_momentum == "auto":
            return min(_LONGEST_MOMENTUM, (1 + steps) / (10 + steps))
        return self.batch_norm_momentum

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                f"epochs={self.epochs} and steps={self.steps}: exactly one of them must be given. "
                "Set the other to null"
            )
        return self


class TrainingSection(Training):
    """The section `training` of the configuration, including how a training is carried out."""

    checkpoint_every: int = Field(100, ge=1)  # steps; a killed run loses no more than these
    log_every: int = Field(10, ge=1)  # steps between two rows of metrics in TensorBoard
    devices: Literal["auto"] = "auto"  # every GPU of this machine, or else the CPU
    # The first weights: the backbone's and a new head, or those of the last blessed model.
    start_from: Literal["backbone", "blessed"] = "backbone"
    # With "blessed": each so many-th training starts from the backbone; null for never.
    cold_every: int | None = Field(None, ge=1)

    @field_validator("devices", mode="before")
    @classmethod
    def _is_one_machine(cls, value: Any) -> Any:
        if value == "multi_worker":
            raise ValueError(
                "training.devices=multi_worker is not supported: after a kill, workers disagree "
                "on the step they stand at. Train on one machine, with auto"
            )
        return value

    @property
    def identity(self) -> Training:
        """The settings without those of how it is carried out, and of what it starts from.

        What it did start from is an input of the Trainer, not a setting.
        """
        return Training.model_validate(self.model_dump(include=set(Training.model_fields)))


class ConfidenceSection(Section):
    """What the exported model says of its own answers; all of it is fitted on validation."""

    temperature: bool = True  # that probabilities are brought to agree with accuracy by
    # How often the prediction set is to hold the truth; null for no sets.
    coverage: Annotated[float, Field(gt=0, lt=1)] | None = 0.9
    # How often a picture of the classes may be called unknown; null for no such answer.
    false_unknown: Annotated[float, Field(gt=0, lt=1)] | None = 0.05


class ExplainSection(Section):
    """Whether the exported model says where it looks, and where in the network that is taken."""

    # A block of the network. "auto": the last one whose output has 7 x 7 positions or more, or the
    # last of all. null: the model does not say it, and is smaller.
    block: str | None = AUTO_BLOCK


class Tuning(Section):
    """A random search for values of `Training`, scored on the validation split."""

    trials: int = Field(0, ge=0)  # 0 leaves the Tuner out
    epochs: int = Field(2, ge=1)  # of each trial
    learning_rate: tuple[_Positive, _Positive] = (1e-4, 3e-3)  # from, to; drawn on a log scale
    weight_decay: tuple[_NotNegative, ...] = Field((0.0, 4e-5, 4e-4), min_length=1)
    label_smoothing: tuple[Fraction, ...] = Field((0.0, 0.1), min_length=1)
    # Blocks from backbone.trainable_from on, or "head"; none means that one alone.
    trainable_from: tuple[str, ...] = ()
    # Values of further settings of `training`, such as {layer_decay: [0.7, 1.0]}.
    choices: dict[str, tuple[bool | int | float | str, ...]] = Field(default_factory=dict)

    @field_validator("choices")
    @classmethod
    def _are_settings_of_a_training(
        cls, choices: dict[str, tuple[bool | int | float | str, ...]]
    ) -> dict[str, tuple[bool | int | float | str, ...]]:
        """Refuses what no training has, and gives each value the type of its setting."""
        own, typed = {*cls.model_fields, "steps", "seed"}, {}
        for name, values in choices.items():
            if name not in Training.model_fields or name in own:
                raise ValueError(
                    f"choices names {name}, which is no setting of training that it may search. "
                    "Name one of " + ", ".join(sorted(set(Training.model_fields) - own))
                )
            if not values:
                raise ValueError(f"choices gives no values for {name}. Give one or more")
            made = (Training.model_validate({name: value}) for value in values)
            typed[name] = tuple(getattr(training, name) for training in made)
        return typed

    @model_validator(mode="after")
    def _is_a_range(self) -> "Tuning":
        low, high = self.learning_rate
        if low >= high:
            raise ValueError(
                f"learning_rate from {low} to {high} does not rise. Give the lower rate first"
            )
        return self


class TrainerSettings(Section):
    """Every setting whose change requires retraining, and no other."""

    training: Training
    image_size: int  # side in pixels
    central_crop: float  # share of each side that the Transform graph keeps
    network: str  # one of components/backbone/networks
    backbone_directory: str  # a resolved, checked module
    backbone_fingerprint: str  # sha256 of its files
    trainable_from: str
    cut_before: str  # the block before which features are stored; trainable_from or one below it
    fresh: bool
    compute_dtype: ComputeDtype
    views: TrainViews
    served_views: tuple[str, ...]  # whose answers the exported model averages
    label_names: tuple[str, ...]
    confidence: ConfidenceSection
    explained_block: str | None = None  # whose output the model's maps are of, if it gives any
    code_fingerprint: str  # sha256 of the code that trains: TFX sees only the dotted path

    @property
    def identity(self) -> str:
        """The settings that weights depend on, as JSON; the backbone is in by its fingerprint."""
        return self.model_dump_json(exclude={"backbone_directory", "confidence", "explained_block"})


def apply_hyperparameters(settings: TrainerSettings, values: Mapping[str, Any]) -> TrainerSettings:
    """Returns `settings` with tuned values.

    Args:
      settings: of the training.
      values: by field of `Training`, and ``trainable_from``.
    """
    tuned = dict(values)
    changed = {"trainable_from": tuned.pop("trainable_from")}
    training = {**settings.training.model_dump(), **tuned}
    return TrainerSettings.model_validate(
        {**settings.model_dump(), **changed, "training": training}
    )


class TunerSettings(Section):
    """The settings of a search: those of a training, and what is tuned."""

    trainer: TrainerSettings
    tuning: Tuning
    code_fingerprint: str  # sha256 of the code that searches
