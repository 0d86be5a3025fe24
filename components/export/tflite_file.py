"""TFLite: reading and asking a file, and writing its metadata, with LiteRT and no TensorFlow."""

import os
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components.export.metadata import KEY, ExportMetadata
from inception_finetune.components.native_output import quiet_native_output

SUFFIX: Final = ".tflite"
_IDENTIFIER: Final = b"TFL3"  # at bytes 4 to 8 of the file


class TfliteFile:
    """A TFLite file that answers pixels."""

    def __init__(self, path: Path) -> None:
        """Loads the file.

        Args:
          path: of the file.

        Raises:
          UserError: it was not written by this package.
          Exception: it is damaged; each kind of damage has an exception of its own.
        """
        from ai_edge_litert.interpreter import Interpreter

        content = path.read_bytes()
        if content[4:8] != _IDENTIFIER:
            raise ValueError("it is no TFLite file")
        self.metadata = ExportMetadata.of(_entry(content), str(path))
        with quiet_native_output(verbose=False):  # it announces XNNPACK
            self._interpreter = Interpreter(
                model_content=content, num_threads=len(os.sched_getaffinity(0))
            )
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._shape: tuple[int, ...] = ()

    def probabilities(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Classifies pictures of one size.

        Args:
          pixels: ``[N, H, W, 3]`` uint8, RGB.

        Returns:
          ``[N, classes]`` float32.
        """
        if pixels.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input, pixels.shape)
            with quiet_native_output(verbose=False):
                self._interpreter.allocate_tensors()
            self._shape = pixels.shape
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output))


def with_metadata(content: bytes, metadata: ExportMetadata) -> bytes:
    """Adds an entry to the metadata of a TFLite file.

    Args:
      content: of the file.
      metadata: what it is to say of itself.

    Returns:
      The content of the file with it.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata.as_json().encode(), np.uint8)
    entry.name, entry.buffer = KEY, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + len(buffer.data))
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _entry(content: bytes) -> bytes | None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == KEY.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return None
