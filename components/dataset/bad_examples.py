"""What happens to an example that breaks a rule: it stops the run, or is skipped by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from inception_finetune.components.errors import UserError

OnBadExample = Literal["fail", "skip"]
OnLeakage = Literal["fail", "skip", "allow"]
REPEATED_ID: Final = "an earlier example has the same id"
_NAMED: Final = 3  # ids in a message


@dataclass(frozen=True)
class Policy:
    """How bad examples and leaks between the splits are handled."""

    on_bad_example: OnBadExample = "fail"
    max_bad_examples: int = 100  # that may be left out of a data set; one more stops the run
    on_leakage: OnLeakage = "fail"  # a test picture that is in train or validation too


STRICT: Final = Policy()


class Skipped:
    """The examples that were skipped: the reason by id."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.reasons: dict[str, str] = {}

    def reject(self, identity: str, reason: str, where: str) -> None:
        """Skips a bad example, or fails.

        Args:
          identity: the example's id.
          reason: which rule it breaks.
          where: file or folder, for messages.

        Raises:
          UserError: the policy is to fail, or more examples are bad than it allows.
        """
        if self.policy.on_bad_example == "fail":
            raise UserError(
                f"Example {identity} in {where}: {reason}. Correct it, or set "
                "dataset.on_bad_example=skip to leave bad examples out."
            )
        self.leave_out(identity, reason, where)

    def leave_out(self, identity: str, reason: str, where: str) -> None:
        """Skips an example.

        Args:
          identity: the example's id.
          reason: why it is skipped.
          where: file or folder, for messages.

        Raises:
          UserError: more examples are skipped than the policy allows.
        """
        self.reasons[identity] = reason
        if len(self.reasons) > self.policy.max_bad_examples:
            raise UserError(
                f"More than dataset.max_bad_examples={self.policy.max_bad_examples} examples of "
                f"{where} are bad, the last one {identity} ({reason}). Correct the data, or raise "
                "that limit."
            )


def skipped_line(skipped: Mapping[str, str], listed_in: str) -> str:
    """Returns the line that a run prints about skipped examples.

    Args:
      skipped: the reason by id.
      listed_in: the file that lists all of them.
    """
    named = [f"{identity} ({reason})" for identity, reason in islice(skipped.items(), _NAMED)]
    more = f" and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
    return f"{len(skipped)} bad examples left out, all listed in {listed_in}: " + (
        "; ".join(named) + more
    )
