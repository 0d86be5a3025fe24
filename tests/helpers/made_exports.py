"""What Export writes of a model, without converting one."""

from inception_finetune.components.export.record import ExportRecord, Measured


def made_record() -> ExportRecord:
    """One that passed, one that was refused, and one that could not be converted."""

    def row(name: str, *values, file: str | None = None, refusals: tuple[str, ...] = ()):
        keys = ("size", "accuracy", "accuracy_loss", "agreement", "difference", "milliseconds")
        measured = dict.fromkeys([*keys, "peak_bytes"])
        measured |= dict(zip([*keys, "peak_bytes"], values, strict=False))
        return Measured(name=name, file=file, refusals=refusals, **measured)

    return ExportRecord(
        fingerprint="5" * 64,
        test_pictures=1234,
        calibration_pictures=200,
        model=row("SavedModel", 91_400_000, 0.856, 0.0, 1.0, 0.0, 61.64, 1_044_000_000),
        exports=(
            row("onnx", 87_300_000, 0.856, 0.0, 1.0, 8.8e-6, 11.6, 391e6, file="model.onnx"),
            row(
                "tflite-int8",
                *(22_400_000, 0.8321, 0.0239, 0.9712, 0.4, 6.9, 131_000_000),
                refusals=("agreement 0.9712 < 0.98", "accuracy loss 0.0239 > 0.01"),
            ),
            row("tflite-float16", refusals=("Model cannot be converted (<b>no op</b>)",)),
        ),
    )
