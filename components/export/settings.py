"""The configuration's section `export`."""

from typing import Annotated

from pydantic import Field, model_validator

from inception_finetune.components.settings import Fraction, Section

_Share = Annotated[float, Field(ge=0, le=1)]


class ExportBound(Section):
    """What an exported file must keep of the SavedModel's answers to the test pictures."""

    min_agreement: _Share  # share of the pictures that get the same label
    max_accuracy_loss: Fraction  # share of the pictures
    max_difference: _Share | None  # of any probability; None is not asked


class OnnxBound(ExportBound):
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
    """How the command `export` measures, and what it lets pass."""

    test_pictures: int = Field(1000, ge=1)  # that each file is asked, at most; drawn at random
    min_test_pictures: int = Field(100, ge=1)  # with fewer than these, nothing is exported
    calibration_pictures: int = Field(200, ge=1)  # train pictures that ranges are measured on
    seed: int = Field(0, ge=0)  # of what is drawn
    onnx: OnnxBound = OnnxBound()
    tflite_float16: Float16Bound = Float16Bound()
    tflite_int8: Int8Bound = Int8Bound()

    @model_validator(mode="after")
    def _asks_for_enough(self) -> "ExportSection":
        if self.test_pictures < self.min_test_pictures:
            raise ValueError(
                f"export.test_pictures is {self.test_pictures}, fewer than "
                f"export.min_test_pictures={self.min_test_pictures}. Raise it, or lower the other"
            )
        return self
