"""What a file of an exported model says of itself. Imports neither TensorFlow nor a runtime."""

import json
from typing import Final, Self

from pydantic import ValidationError

from inception_finetune.components.errors import UserError
from inception_finetune.components.settings import Section

KEY: Final = "inception_finetune"  # of the entry in the file's own metadata
LAYOUT: Final = "NHWC, RGB, uint8"
VALUE_RANGE: Final = (0, 255)


class ExportMetadata(Section):
    """How a file is to be asked, and what its answers mean."""

    format: str  # a key of `formats.FORMATS`
    label_names: tuple[str, ...]  # in the order of the probabilities
    fingerprint: str  # sha256 of the SavedModel that it was made of
    layout: str = LAYOUT  # of the pixels
    value_range: tuple[int, int] = VALUE_RANGE  # of the pixels
    central_crop_and_resize: str = "in the graph"  # pictures of any size are taken

    def as_json(self) -> str:
        """Returns the text that the file holds."""
        return self.model_dump_json()

    @classmethod
    def of(cls, text: str | bytes | None, where: str) -> Self:
        """Reads the text of a file.

        Args:
          text: what the entry `KEY` holds; None where there is no such entry.
          where: name of the file, for the message.

        Raises:
          UserError: there is none, or it is not what `as_json` writes.
        """
        try:
            made = cls.model_validate(json.loads(text or b""))
        except (ValidationError, ValueError, RecursionError) as error:
            raise UserError(
                f"No label names in {where}: its metadata have no readable entry {KEY}. "
                "Give a file that `inception-finetune export` has written."
            ) from error
        if made.layout != LAYOUT or made.value_range != VALUE_RANGE:
            raise UserError(
                f"Model {where} takes pixels as {made.layout} in {list(made.value_range)}, which "
                "this version does not give. Export it again."
            )
        return made
