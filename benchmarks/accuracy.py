"""``python -m benchmarks.accuracy``: recipes of training, each by several seeds, through the DAG.

Recipes are chosen by validation accuracy. Test accuracy is measured for each run, as the gate
measures it, and stands beside; nothing is chosen by it.
"""

import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.data import load_pictures, with_long_tail, with_train, write_folders
from inception_finetune.components.evaluation.learning_curve import FILE, read_history
from inception_finetune.components.evaluation.metrics import ACCURACY
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.cli.options import load_tensorflow
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.history.runs import Run, read_runs

# A trunk up to Mixed_6d, which fits the train images by heart.
_PLAIN: Final = (
    "backbone.trainable_from=Mixed_6d",
    "training.epochs=5",
    "training.learning_rate=0.0005",
    "image.views=[identity]",
)
# What each adds to it: one ingredient.
_INGREDIENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "deeper": ("backbone.trainable_from=Mixed_6a", "training.epochs=3"),
    "higher rate": ("training.learning_rate=0.001",),
    "flip": ("image.views=[identity, flip_left_right]",),
    "random views": ("image.random_views=3",),
    "mixup": ("training.mixup=0.2",),
    "cutmix": ("training.cutmix=1.0",),
    "mixup and cutmix": ("training.mixup=0.2", "training.cutmix=1.0"),
    "layer decay": ("training.layer_decay=0.8",),
    "unfreeze after 1": ("training.unfreeze_after=1",),
    "adamw": ("training.optimizer=adamw", "training.weight_decay=0.05"),
    "sgd": ("training.optimizer=sgd", "training.learning_rate=0.02"),
    "averaged weights": ("training.ema_momentum=0.99",),
    "smoothing": ("training.label_smoothing=0.1",),
    "balanced weights": ("training.class_weights=balanced",),
    "effective weights": ("training.class_weights=effective",),
    "balanced sampling": ("training.balanced_sampling=1.0",),
    "half balanced sampling": ("training.balanced_sampling=0.5",),
    "focal loss": ("training.focal_gamma=2.0",),
    "served flip": ("image.served_views=[identity, flip_left_right]",),
}
# What each changes of the configuration that is given.
RECIPES: Final[Mapping[str, tuple[str, ...]]] = {
    "recommended": (),  # the preset itself
    "plain": _PLAIN,
    **{name: (*_PLAIN, *changes) for name, changes in _INGREDIENTS.items()},
}
_NEVER_BLESSED: Final = ("gate.min_accuracy=1.0",)  # so that no run is compared with another
# Steps whose cost a recipe changes, and what they make.
_COMPUTED: Final = {Step.TRUNK_FEATURES: "trunk_features", Step.TRAINER: "model"}


class Result(NamedTuple):
    """One run of a recipe."""

    recipe: str
    seed: int
    validation: float  # accuracy of the exported epoch
    test: float
    seconds: float  # of TrunkFeatures and Trainer


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE settings.")] = None,
    config: Annotated[str, typer.Option(help="Preset or YAML file.")] = "cifar10",
    recipe: Annotated[list[str] | None, typer.Option(help="Of RECIPES; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each recipe.")] = 3,
    long_tail: Annotated[
        float | None,
        typer.Option(help="Train pictures of the first class over those of the last."),
    ] = None,
    train: Annotated[
        int | None, typer.Option(help="Train pictures, validation among them.", min=1)
    ] = None,
    output: Annotated[Path, typer.Option(help="Receives one JSON object a line.")] = Path(
        "build/accuracy.jsonl"
    ),
) -> None:
    """Accuracy and cost of training recipes on a data set, as a table.

    With --long-tail or --train, the train pictures of `dataset.archive`, of CIFAR's form, are
    thinned out; all test pictures stay, so that accuracy is the mean recall of the classes.
    """
    names = list(recipe or RECIPES)
    if unknown := [name for name in names if name not in RECIPES]:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(RECIPES)}")
    load_tensorflow(verbose=False)
    results: list[Result] = []
    output.parent.mkdir(parents=True, exist_ok=True)
    if long_tail is not None or train is not None:
        pictures = load_pictures(load_config(config, overrides or ()))
        if train is not None:
            pictures = with_train(pictures, train)
        if long_tail is not None:
            pictures = with_long_tail(pictures, long_tail)
        folder = output.with_suffix(".pictures")
        shutil.rmtree(folder, ignore_errors=True)
        write_folders(pictures, folder)
        overrides = [*(overrides or ()), f"dataset.archive={folder}"]
    with output.open("a", encoding="utf-8") as lines:
        for name in names:
            for seed in range(seeds):
                changes = [*(overrides or ()), *RECIPES[name], f"training.seed={seed}"]
                result = _measure(config, changes, name, seed)
                results.append(result)
                print(json.dumps(result._asdict()), file=lines, flush=True)
    _print(results)


def _measure(source: str, changes: Sequence[str], recipe: str, seed: int) -> Result:
    """Runs the pipeline once."""
    from inception_finetune.pipeline import local

    config = load_config(source, [*changes, *_NEVER_BLESSED])
    outcome = local.run(config)
    *_, run = runs = read_runs(config)
    seconds = 0.0
    for step, key in _COMPUTED.items():
        # Of the run that has made it, which may be an earlier one.
        made = {
            one.artifacts[step, key].uri: _seconds(one, step) for one in runs if _seconds(one, step)
        }
        if (step, key) in run.artifacts:
            seconds += made[run.artifacts[step, key].uri]
    rows = read_history(f"{run.uri(Step.TRAINER, 'model_run')}/{FILE}")
    best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    return Result(recipe, seed, best["val_accuracy"], outcome.metrics[ACCURACY.name], seconds)


def _seconds(run: Run, step: str) -> float:
    """What the step took in this run; 0 if it did not run, or its result was there."""
    return sum(one.seconds for one in run.steps if one.name == step and not one.cached)


def _print(results: Sequence[Result]) -> None:
    table = Table(title="accuracy by recipe, best on validation first", title_justify="left")
    for column in ("recipe", "runs", "validation", "test", "range", "seconds"):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    by_recipe: dict[str, list[Result]] = {}
    for result in results:
        by_recipe.setdefault(result.recipe, []).append(result)
    means = {
        name: statistics.mean(result.validation for result in runs)
        for name, runs in by_recipe.items()
    }
    for name in sorted(means, key=lambda name: -means[name]):
        runs = by_recipe[name]
        tests = [result.test for result in runs]
        table.add_row(
            name,
            f"{len(runs)}",
            f"{means[name]:.4f}",
            f"{statistics.mean(tests):.4f}",
            f"{min(tests):.4f} to {max(tests):.4f}",
            f"{statistics.mean(result.seconds for result in runs):.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
