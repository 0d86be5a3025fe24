"""The run that a model comes from."""

from pathlib import Path

from inception_finetune.components.errors import UserError
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.rollback import as_pushed
from inception_finetune.pipeline.history.runs import Run, read_runs


def run_of(config: Config, model: Path) -> Run:
    """Finds the run that has trained a model.

    Args:
      config: of the pipeline.
      model: folder of the SavedModel, pushed or not.

    Raises:
      UserError: no run of the pipeline has.
    """
    place = as_pushed(config, model)
    for run in reversed(read_runs(config)):
        if run.pushed_as is not None and run.pushed_as.resolve() == place:
            return run
        trained = run.artifacts.get((Step.TRAINER, "model"))
        if trained is not None and Path(trained.uri).resolve() in place.parents:
            return run
    raise UserError(
        f"Model {model} has no run in {config.root}, whose pictures it could be tested with. "
        "Give --config and root=DIRECTORY of the pipeline that trained it."
    )
