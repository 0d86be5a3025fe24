"""Test images that are in train or validation as well: test accuracy would be overestimated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from inception_finetune.components.dataset.bad_examples import Skipped
from inception_finetune.components.dataset.source import Source
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import TEST


class Leak(NamedTuple):
    """An example outside of test whose id or image is in test too."""

    id: str
    split: str  # its own
    test_id: str


def leave_out_leaks(source: Source, skipped: Skipped) -> set[int]:
    """Finds ids and images that are in test and elsewhere, and applies the policy to them.

    Args:
      source: the examples.
      skipped: has the policy, and receives what is skipped.

    Returns:
      Indices of the examples outside of test that are to be skipped.

    Raises:
      UserError: there are leaks, and the policy is to fail, or to skip fewer.
    """
    if skipped.policy.on_leakage == "allow":
        return set()
    indices = [index for index, id_ in enumerate(source.ids) if id_ not in source.skipped]
    leaks = _leaks(source, indices)
    apply_leakage_policy(
        [Leak(source.ids[i], str(source.splits[i]), source.ids[test]) for i, test in leaks], skipped
    )
    return {other for other, _ in leaks}


def apply_leakage_policy(leaks: Sequence[Leak], skipped: Skipped) -> None:
    """Fails on leaks, or records them as skipped.

    Raises:
      UserError: there are leaks, and the policy is to fail, or to skip fewer.
    """
    if leaks and skipped.policy.on_leakage == "fail":
        raise UserError(
            f"Pictures of {TEST} are in train or validation as well ({len(leaks)} in all), "
            f"such as {leaks[0].id} of {leaks[0].split} = {leaks[0].test_id} of {TEST}: test "
            "accuracy would be overestimated. Remove them, or set dataset.on_leakage=skip to "
            "leave the copies outside of test out (allow keeps them)."
        )
    for leak in leaks:
        reason = f"it is {leak.test_id} of {TEST} too"
        skipped.leave_out(f"{leak.id} of {leak.split}", reason, leak.split)


def _leaks(source: Source, indices: Iterable[int]) -> list[tuple[int, int]]:
    """Returns (index outside of test, index in test) of each leak."""
    places: defaultdict[str | bytes, list[int]] = defaultdict(list)
    for index in indices:
        places[source.digests[index]].append(index)
        places[source.ids[index]].append(index)
    leaks: dict[int, int] = {}
    for same in places.values():
        tests = [index for index in same if source.splits[index] == TEST]
        if tests:
            leaks |= {index: tests[0] for index in same if source.splits[index] != TEST}
    return sorted(leaks.items())
