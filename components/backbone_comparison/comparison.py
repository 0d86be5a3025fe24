"""Accuracy and cost of each cut of a network, and the cut that linear probes advise."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from inception_finetune.components.backbone.network import HEAD, Backbone, multiplications, sizes
from inception_finetune.components.evaluation.measures import Accuracy
from inception_finetune.components.settings import Section


class Cost(Section):
    """Cost of a cut at one image size. Multiplications are of convolutions, for one image."""

    frozen_multiplications: int  # below the cut: once for each image and view
    trained_multiplications: int  # above it: forward, at each step; backward takes twice as many
    trained_parameters: int  # above it, moving statistics included, and the head's
    feature_shape: tuple[int, ...]  # [h, w, channels], or [features] before the head
    feature_bytes: int  # of one image's stored features, before they are compressed


class Cut(Section):
    """A linear probe on the output of a block, and the cost of training from there on."""

    block: str  # the last frozen one
    trainable_from: str  # the next one, or "head"
    channels: int  # that the probe was given, each the mean over all positions
    accuracy: Accuracy  # on validation
    strength: float  # the probe's inverse L2 penalty, chosen on a part of train
    probe_seconds: float
    frozen_seconds: float  # measured, of all blocks below the cut, for all pictures
    cost: Cost


class Candidate(Section):
    """A backbone with all its cuts, from the first to the last one."""

    label: str  # to people
    handle: str
    network: str  # one of components/backbone/networks
    fingerprint: str
    pass_seconds: float  # decoding included
    cuts: tuple[Cut, ...]

    @property
    def best(self) -> Cut:
        """The cut with the highest accuracy; of equals the latest."""
        return max(reversed(self.cuts), key=lambda cut: cut.accuracy.value)

    @property
    def multiplications(self) -> int:
        """Multiplications of the whole network, for one image."""
        cost = self.cuts[0].cost
        return cost.frozen_multiplications + cost.trained_multiplications


class Comparison(Section):
    """Several backbones on the same examples."""

    dataset: str
    dataset_fingerprint: str
    train: int  # examples that probes were fitted to
    validation: int  # that they were scored on
    image_size: int
    compute_dtype: str
    seed: int
    candidates: tuple[Candidate, ...]


def costs(backbone: Backbone, image_size: int, classes: int, value_bytes: int) -> dict[str, Cost]:
    """Computes the cost of each cut.

    Args:
      backbone: the network's table.
      image_size: side of the images in pixels.
      classes: number of classes.
      value_bytes: size of one stored value.

    Returns:
      The cost by the block that is the last frozen one.
    """
    all_sizes = sizes(backbone, image_size)
    work = multiplications(backbone, image_size)
    all_parameters = _parameters(backbone, image_size)
    head = (backbone.features + 1) * classes
    cost_by_block, below = {}, 0
    for number, block in enumerate(backbone.blocks, start=1):
        below += work[block.name]
        trunk = replace(backbone, blocks=backbone.blocks[:number])
        shape: tuple[int, ...] = tuple(all_sizes[block.name])
        if number == len(backbone.blocks):
            shape = shape[-1:]
        cost_by_block[block.name] = Cost(
            frozen_multiplications=below,
            trained_multiplications=sum(work.values()) - below,
            trained_parameters=all_parameters - _parameters(trunk, image_size) + head,
            feature_shape=shape,
            feature_bytes=prod(shape) * value_bytes,
        )
    return cost_by_block


def _parameters(backbone: Backbone, image_size: int) -> int:
    return sum(prod(variable.shape) for variable in backbone.variables(image_size))


def cut_after(backbone: Backbone, block: str) -> str:
    """Returns the `trainable_from` by which `block` is the last frozen one."""
    names = [one.name for one in backbone.blocks]
    return (*names[1:], HEAD)[names.index(block)]


def advised(candidate: Candidate) -> Cut:
    """Returns the latest, cheapest cut whose probe lies within the best one's interval."""
    least = candidate.best.accuracy.low
    return [cut for cut in candidate.cuts if cut.accuracy.value >= least][-1]


def advised_candidate(candidates: Sequence[Candidate]) -> Candidate:
    """Returns the smallest network whose best probe lies within the interval of the best of all.

    Of equally large ones it is the one with the higher accuracy.
    """
    best = max((one.best.accuracy for one in candidates), key=lambda accuracy: accuracy.value)
    within = [one for one in candidates if one.best.accuracy.value >= best.low]
    return min(within, key=lambda one: (one.multiplications, -one.best.accuracy.value))


def advice(candidate: Candidate) -> str:
    """Returns one sentence on where to cut."""
    cut, best = advised(candidate), candidate.best
    reason = "no block's is higher"
    if cut is not best:
        reason = (
            f"the highest is {best.accuracy.value:.3f} at {best.block} (95 %: "
            f"{best.accuracy.low:.3f} to {best.accuracy.high:.3f}), and no later block lies in that"
        )
    return (
        f"{candidate.label}: linear probes advise backbone.trainable_from={cut.trainable_from}. "
        f"They reach {cut.accuracy.value:.3f} at {cut.block}, which is the last frozen block then; "
        f"{reason}."
    )


def rows(comparison: Comparison) -> list[dict[str, str | int | float]]:
    """Returns a flat row for each cut of each backbone."""
    return [
        {
            "backbone": candidate.label,
            "handle": candidate.handle,
            "network": candidate.network,
            "frozen_up_to": cut.block,
            "trainable_from": cut.trainable_from,
            "accuracy": cut.accuracy.value,
            "low": cut.accuracy.low,
            "high": cut.accuracy.high,
            "strength": cut.strength,
            "probe_seconds": cut.probe_seconds,
            "frozen_seconds": cut.frozen_seconds,
            **cut.cost.model_dump(exclude={"feature_shape"}),
            "feature_shape": "x".join(map(str, cut.cost.feature_shape)),
        }
        for candidate in comparison.candidates
        for cut in candidate.cuts
    ]
