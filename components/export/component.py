"""Export, a TFX component: the model in other formats, those of them that answer as it does."""

import sys
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.experimental.simple_artifacts import File
from tfx.utils import path_utils

from inception_finetune.components.export.export import export
from inception_finetune.components.export.formats import FORMATS
from inception_finetune.components.export.pictures import (
    draw_calibration_pictures,
    draw_test_pictures,
)
from inception_finetune.components.export.record import RECORD
from inception_finetune.components.export.settings import ExportSettings
from inception_finetune.components.io.whole_file import whole_file


@component
def Export(  # noqa: N802 - TFX component names are classes' names
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    exports: OutputArtifact[File],
    settings: Parameter[str],
) -> None:
    """Converts the model and writes the files that pass, and ``exports.json`` with all rows.

    An export that is refused is left out and named; it stops nothing. Train pictures calibrate,
    test pictures judge. `settings` is an `ExportSettings` as JSON.

    Raises:
      UserError: there are too few test pictures, or the model itself cannot be asked.
    """
    chosen = ExportSettings.model_validate_json(settings).export
    folder, pictures = Path(exports.uri), Path(examples.uri)
    record = export(
        Path(path_utils.serving_model_path(model.uri)),
        [FORMATS[name] for name in chosen.formats],
        folder,
        draw_test_pictures(pictures, chosen),
        draw_calibration_pictures(pictures, chosen),
        chosen,
    )
    with whole_file(folder / RECORD) as temporary:
        temporary.write_text(record.model_dump_json(indent=1), "utf-8")
    for name, why in record.refused.items():
        print(f"export {name} refused: {why}", file=sys.stderr, flush=True)
