"""An example that breaks a rule: it stops the run, or is left out by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from inception_finetune.components.errors import UserError

OnBadExample = Literal["fail", "skip"]
OnLeakage = Literal["fail", "skip", "allow"]
GIVEN_ONCE: Final = "an id is given once, here an earlier example has it"
_NAMED: Final = 3  # ids in a message


@dataclass(frozen=True)
class Policy:
    on_bad_example: OnBadExample = "fail"
    max_bad_examples: int = 100  # that may be left out of a data set; one more stops the run
    on_leakage: OnLeakage = "fail"  # a test picture that is in train or validation too


STRICT: Final = Policy()


class Skipped:
    """The examples that were left out: their ids, each with the rule that it breaks."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.reasons: dict[str, str] = {}

    def reject(self, identity: str, reason: str, where: str) -> None:
        """Leaves a bad example out.

        Raises:
          UserError: the policy is to fail, or more are bad than it allows.
        """
        if self.policy.on_bad_example == "fail":
            raise UserError(
                f"{reason}. Received: example {identity} of {where}; mend it, or leave bad "
                "examples out by name with dataset.on_bad_example=skip"
            )
        self.leave_out(identity, reason, where)

    def leave_out(self, identity: str, reason: str, where: str) -> None:
        self.reasons[identity] = reason
        if len(self.reasons) > self.policy.max_bad_examples:
            raise UserError(
                f"at most dataset.max_bad_examples={self.policy.max_bad_examples} examples may be "
                f"left out. Received: more in {where}, the last one {identity} ({reason}); "
                "mend the data, or raise that limit"
            )


def skipped_line(skipped: Mapping[str, str], listed_in: str) -> str:
    """What a run says of the examples that were left out."""
    named = [f"{identity} ({reason})" for identity, reason in islice(skipped.items(), _NAMED)]
    more = f" and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
    return f"{len(skipped)} bad examples left out, all listed in {listed_in}: " + (
        "; ".join(named) + more
    )
