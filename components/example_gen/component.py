"""ImportExampleGen, TFX's component with an executor that streams."""

from tfx.components import ImportExampleGen as TfxImportExampleGen
from tfx.dsl.components.base import executor_spec

from inception_finetune.components.example_gen.executor import Executor


class ImportExampleGen(TfxImportExampleGen):
    """Imports TFRecord files of `tf.train.Example`, one pattern for each split."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
