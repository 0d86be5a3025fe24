"""The configuration's section `export`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from inception_finetune.components.errors import UserError
from inception_finetune.components.settings import Fraction, Section

FormatName = Literal["onnx", "tflite-float16", "tflite-int8", "tfjs"]  # keys of `formats.FORMATS`
_Share = Annotated[float, Field(ge=0, le=1)]


class ExportBound(Section):
    """What an exported file must keep of the SavedModel's answers to the test pictures."""

    min_agreement: _Share  # share of the pictures that get the same label
    max_accuracy_loss: Fraction  # share of the pictures
    max_difference: _Share | None  # of any probability; None is not asked


class Float32Bound(ExportBound):
    """The same float32 numbers, summed in another order."""

    min_agreement: _Share = 1.0
    max_accuracy_loss: Fraction = 0.0
    max_difference: _Share | None = 1e-4


class Float16Bound(ExportBound):
    """Weights have 11 bits."""

    min_agreement: _Share = 0.99
    max_accuracy_loss: Fraction = 0.005
    max_difference: _Share | None = 0.05


class Int8Bound(ExportBound):
    """Weights and activations have 8 bits."""

    min_agreement: _Share = 0.98
    max_accuracy_loss: Fraction = 0.01
    max_difference: _Share | None = None


class ExportSection(Section):
    """How the step Export and the command `export` measure, and what they let pass."""

    # That the pipeline makes and pushes with the model; without any, it has no such step.
    formats: tuple[FormatName, ...] = ()
    test_pictures: int = Field(1000, ge=1)  # that each file is asked, at most; drawn at random
    min_test_pictures: int = Field(100, ge=1)  # with fewer than these, nothing is exported
    calibration_pictures: int = Field(200, ge=1)  # train pictures that ranges are measured on
    seed: int = Field(0, ge=0)  # of what is drawn
    onnx: Float32Bound = Float32Bound()
    tflite_float16: Float16Bound = Float16Bound()
    tflite_int8: Int8Bound = Int8Bound()
    tfjs: Float32Bound = Float32Bound()

    @model_validator(mode="after")
    def _asks_for_enough(self) -> "ExportSection":
        if self.test_pictures < self.min_test_pictures:
            raise ValueError(
                f"export.test_pictures is {self.test_pictures}, fewer than "
                f"export.min_test_pictures={self.min_test_pictures}. Raise it, or lower the other"
            )
        return self

    @model_validator(mode="after")
    def _names_each_format_once(self) -> "ExportSection":
        if len(set(self.formats)) < len(self.formats):
            raise ValueError(
                f"export.formats names one of {', '.join(self.formats)} twice. Name each once"
            )
        return self

    def require_test_pictures(self, count: int, where: str) -> None:
        """Refuses test pictures that are too few to judge an export by.

        Args:
          count: of them.
          where: they lie, for the message.

        Raises:
          UserError: they are fewer than `min_test_pictures`.
        """
        if count < self.min_test_pictures:
            raise UserError(
                f"{count} test pictures in {where} are fewer than "
                f"export.min_test_pictures={self.min_test_pictures}: exports would be kept "
                "unverified. Set it lower, or export nothing."
            )


class ExportSettings(Section):
    """The parameter `settings` of Export, as JSON."""

    export: ExportSection
    code_fingerprint: str  # sha256 of the code that converts and measures
