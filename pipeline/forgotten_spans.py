"""Which spans must never be read again, because `data forget` removed them."""

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.settings import Section

FILE: Final = "forgotten-spans.json"  # below the root


class ForgottenSpans(Section):
    """By name of the span: since when, in ISO 8601; None while some of it may still be there."""

    spans: dict[str, str | None] = {}

    @property
    def unfinished(self) -> list[str]:
        """Names of the spans of which something may be left."""
        return [name for name, since in self.spans.items() if since is None]


def read_forgotten(root: Path) -> ForgottenSpans:
    """Returns the forgotten spans of a pipeline's root; none where nobody forgot any.

    Raises:
      UserError: the list is damaged: to go on without it would read them again.
    """
    file = root / FILE
    try:
        return ForgottenSpans.model_validate_json(file.read_text("utf-8"))
    except FileNotFoundError:
        return ForgottenSpans()
    except (OSError, UnicodeDecodeError, ValidationError):
        raise UserError(
            f"List of forgotten spans {file} cannot be read, and none of them may be read again. "
            "Restore it from a copy."
        ) from None


def write_forgotten(root: Path, forgotten: ForgottenSpans) -> None:
    """Writes the list, whole or not at all.

    Raises:
      UserError: it cannot be written.
    """
    with whole_file(root / FILE) as temporary:
        temporary.write_text(forgotten.model_dump_json(indent=1), "utf-8")


def require_finished(root: Path) -> ForgottenSpans:
    """Returns the forgotten spans, of which nothing is left.

    Raises:
      UserError: the forgetting of one was interrupted, or the list is damaged.
    """
    forgotten = read_forgotten(root)
    if unfinished := forgotten.unfinished:
        raise UserError(
            f"Span {unfinished[0]} in {root} is not wholly forgotten: the command was interrupted. "
            f"Run `inception-finetune data forget {' '.join(unfinished)}` with the same --config "
            "again."
        )
    return forgotten
