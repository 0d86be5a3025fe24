"""ImportExampleGen, TFX's component with an executor that streams."""

from google.protobuf import any_pb2, struct_pb2
from tfx.components import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from inception_finetune.components.example_gen.executor import CODE, Executor


class ImportExampleGen(FileBasedExampleGen):
    """Imports TFRecord files of `tf.train.Example`, one pattern for each split."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        input_base: str,
        input_config: example_gen_pb2.Input,
        code_fingerprint: str,
    ) -> None:
        """Describes the step.

        Args:
          input_base: the folder of the files, and of the manifest of their conversion.
          input_config: a pattern for each split.
          code_fingerprint: of the executor; another one does not take a cached result.
        """
        packed = any_pb2.Any()
        packed.Pack(
            struct_pb2.Struct(fields={CODE: struct_pb2.Value(string_value=code_fingerprint)})
        )
        super().__init__(
            input_base=input_base,
            input_config=input_config,
            custom_config=example_gen_pb2.CustomConfig(custom_config=packed),
        )
