"""Test pictures that are in train or validation as well: they would flatter the gate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from inception_finetune.components.dataset.bad_examples import Skipped
from inception_finetune.components.dataset.source import Source
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import TEST


class Leak(NamedTuple):
    """An example outside of test whose id or picture is in test too."""

    id: str
    split: str  # its own
    test_id: str


def leave_out_leaks(source: Source, skipped: Skipped) -> set[int]:
    """Looks for ids, and for pictures that show the same, that stand in test and elsewhere.

    Returns the places outside of test that are to be left out.

    Raises:
      UserError: there are some, and the policy is to fail, or to leave out fewer.
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
    """Lists what is left out.

    Raises:
      UserError: there are leaks, and the policy is to fail, or to leave out fewer.
    """
    if leaks and skipped.policy.on_leakage == "fail":
        raise UserError(
            "no test picture may be in train or validation, or the test flatters. "
            f"Received: {len(leaks)} that are, such as {leaks[0].id} of {leaks[0].split} = "
            f"{leaks[0].test_id} of {TEST}; remove them, or leave the copies outside of test out "
            "with dataset.on_leakage=skip (allow keeps them)"
        )
    for leak in leaks:
        reason = f"it is {leak.test_id} of {TEST} too"
        skipped.leave_out(f"{leak.id} of {leak.split}", reason, leak.split)


def _leaks(source: Source, indices: Iterable[int]) -> list[tuple[int, int]]:
    """(place outside of test, place in test) of each example outside of test that is one."""
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
