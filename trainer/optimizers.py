"""What updates the weights: one optimizer for each group of variables with a rate of its own."""

from itertools import chain
from typing import NamedTuple

import tensorflow as tf
import tf_keras as keras

from inception_finetune.components.backbone.cut import trained_by_block
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.trainer.model import Trainee
from inception_finetune.trainer.settings import Training

_NOT_DECAYED = ("bias", "beta", "gamma")  # parts of variables' names


class ParameterGroup(NamedTuple):
    """Variables that are trained at one rate, from one step on."""

    optimizer: keras.optimizers.Optimizer
    variables: list[tf.Variable]
    first_step: int  # from 0; before it the variables stay as they are


def parameter_groups(
    training: Training,
    trainee: Trainee,
    backbone: Backbone,
    *,
    total_steps: int,
    frozen_steps: int = 0,
) -> list[ParameterGroup]:
    """Groups the trained variables; the first group holds the head.

    The head has the rate of the settings, and each block `layer_decay` times the rate of the block
    after it, as ULMFiT's discriminative fine-tuning (https://arxiv.org/abs/1801.06146, section
    3.2). Blocks that are frozen at first have the whole schedule in the steps that are left.

    Args:
      training: settings of the training.
      trainee: what is trained.
      backbone: its table of blocks.
      total_steps: of the training.
      frozen_steps: steps in which the head alone is trained.
    """
    decay, first = training.layer_decay, trainee.head.trainable_variables
    blocks = trained_by_block(backbone, trainee.upper)
    if decay == 1 and blocks:
        blocks = [list(chain.from_iterable(blocks))]
    if decay == 1 and not frozen_steps:
        first, blocks = [*first, *chain.from_iterable(blocks)], []
    groups = [ParameterGroup(make_optimizer(training, total_steps), first, 0)]
    for depth, variables in enumerate(blocks, start=1):
        optimizer = make_optimizer(training, total_steps - frozen_steps, factor=decay**depth)
        groups.append(ParameterGroup(optimizer, variables, frozen_steps))
    for group in groups:
        group.optimizer.build(group.variables)
    return groups


def make_optimizer(
    training: Training, total_steps: int, *, factor: float = 1.0
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of the settings, with its schedule and averaging.

    Args:
      training: settings of the training.
      total_steps: that it makes.
      factor: of the learning rate.
    """
    rate = learning_rate(training, total_steps, factor=factor)
    averaging = {
        "use_ema": training.ema_momentum is not None,
        "ema_momentum": training.ema_momentum or 0.0,
    }
    if training.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=training.momentum, nesterov=True, **averaging)
    if training.optimizer == "adam":
        return keras.optimizers.Adam(rate, **averaging)
    adamw = keras.optimizers.AdamW(rate, weight_decay=training.weight_decay, **averaging)
    adamw.exclude_from_weight_decay(var_names=list(_NOT_DECAYED))
    return adamw


def learning_rate(
    training: Training, total_steps: int, *, factor: float = 1.0
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate of each step.

    It is constant, or rises linearly and then falls to zero by half a cosine.

    Args:
      training: settings of the training.
      total_steps: length of the schedule.
      factor: of the rate in the settings.
    """
    highest = factor * training.learning_rate
    if training.schedule == "constant":
        return highest
    warmup = round(training.warmup_fraction * total_steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else highest,
        decay_steps=max(1, total_steps - warmup),
        warmup_target=highest if warmup else None,
        warmup_steps=warmup,
    )
