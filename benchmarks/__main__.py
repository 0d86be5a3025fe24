"""``make bench``: measures, prints, draws, and writes build/bench.json."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from inception_finetune.pipeline.cli.options import load_tensorflow

EPOCHS = (1, 2, 5, 20)


def main(
    archive: Annotated[str, typer.Option(help="A preset's name or a path.")] = "digits",
    image_size: Annotated[int, typer.Option(help="Pixels a side.")] = 299,
    batch_size: Annotated[int, typer.Option(help="Images a training step.")] = 32,
    rounds: Annotated[int, typer.Option(help="Timed rounds; medians count.")] = 5,
    output: Annotated[Path, typer.Option(help="Folder for bench.json and bench.png.")] = Path(
        "build"
    ),
) -> None:
    """Speed of this project's steps, as ratios of paired runs in one process."""
    load_tensorflow(verbose=False)
    from benchmarks import conversion, data, serving, training
    from inception_finetune.components.backbone.compute_dtype import resolve_compute_dtype
    from inception_finetune.pipeline.config import load_config
    from inception_finetune.pipeline.inputs import resolve_backbone

    config = load_config(
        "cifar10",
        [
            f"dataset.archive={archive}",
            *(f"image.size={image_size}", "image.central_crop=0.875", "image.views=[identity]"),
            f"backbone.trainable_from={training.CUT}",
            f"root={output / 'bench'}",
            "backbone.handle=standin",
            "training={epochs: null, steps: 1, batch_size: 2}",
            "gate.min_accuracy=0",
        ],
    )
    whole = data.load_archive(config)
    outcome = data.run_small(config, data.first_images(whole, 4 * batch_size))
    steps = training.measure(
        data.train_examples(config),
        data.transform_graph(config),
        resolve_backbone(config),
        image_size=image_size,
        batch_size=batch_size,
        rounds=rounds,
    )
    assert outcome.pushed is not None
    evaluation = serving.images_per_second(
        outcome.pushed, data.train_examples(config)[:batch_size], rounds
    )
    converted = conversion.measure(whole, min(rounds, 3))
    peak = training.matrix_product_peak(resolve_compute_dtype("auto"))
    trunk_rate = steps.rate(training.TRUNK_PASS)
    report = {
        "cached_vs_article": steps.ratio(training.CACHED, training.ARTICLE),
        "cached_vs_keras_recipe": steps.ratio(training.CACHED, training.KERAS_RECIPE),
        "online_vs_article": steps.ratio(training.ONLINE, training.ARTICLE),
        **_amortised(steps),
        "trunk_vs_float32": steps.ratio(training.TRUNK_PASS, training.KERAS_TRUNK),
        "trunk_peak_share": trunk_rate * training.trunk_operations(image_size) / peak,
        "convert_vs_loop": converted.ratio(conversion.CONVERT, conversion.LOOP),
        "images_per_second": {
            **{name: steps.rate(name) for name in steps.seconds},
            **{name: converted.rate(name) for name in converted.seconds},
            "evaluation, serving_default": evaluation,
        },
        "fixed_seconds": {step.name: step.seconds for step in outcome.steps},
        "matrix_product_peak": peak,
        "conditions": {
            "image_size": image_size,
            "batch_size": batch_size,
            "rounds": rounds,
            "compute_dtype": resolve_compute_dtype("auto"),
            "images_converted": converted.images[conversion.CONVERT],
        },
    }
    _print(report, Console())
    output.mkdir(parents=True, exist_ok=True)
    (output / "bench.json").write_text(json.dumps(report, indent=2), "utf-8")
    _draw(report, output / "bench.png")
    print(f"written: {output / 'bench.json'}, {output / 'bench.png'}")


def _amortised(steps) -> dict[str, float]:
    """Ratios with the trunk pass spread over the epochs that its features are used for."""
    from benchmarks import training

    def ratio(other: str, epochs: int) -> float:
        return steps.median(
            lambda cost: cost[other] / (cost[training.CACHED] + cost[training.TRUNK_PASS] / epochs)
        )

    return {
        f"amortised_{epochs}_vs_{name}": ratio(other, epochs)
        for name, other in (("article", training.ARTICLE), ("keras_recipe", training.KERAS_RECIPE))
        for epochs in EPOCHS
    }


def _print(report: dict[str, Any], console: Console) -> None:
    conditions = report["conditions"]
    rates = Table(
        title=f"images/s at {conditions['image_size']} pixels, batch {conditions['batch_size']}",
        title_justify="left",
    )
    rates.add_column("work")
    rates.add_column("images/s", justify="right")
    for name, rate in report["images_per_second"].items():
        rates.add_row(name, f"{rate:,.1f}")
    ratios = Table(title="ratios, medians of paired rounds", title_justify="left")
    ratios.add_column("ratio")
    ratios.add_column("", justify="right")
    for name, value in report.items():
        if isinstance(value, float) and name != "matrix_product_peak":
            ratios.add_row(name, f"{value:.2f}")
    fixed = Table(title="fixed cost of each step of the DAG", title_justify="left")
    fixed.add_column("step")
    fixed.add_column("seconds", justify="right")
    for name, seconds in report["fixed_seconds"].items():
        fixed.add_row(name, f"{seconds:.1f}")
    for table in (rates, ratios, fixed):
        console.print(table)


def _draw(report: dict[str, Any], target: Path) -> None:
    """Images/s of training, and what the amortised speed-up becomes with more epochs."""
    from matplotlib.figure import Figure

    from benchmarks import training

    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    names = [training.ARTICLE, training.KERAS_RECIPE, training.ONLINE, training.CACHED]
    rates = [report["images_per_second"][name] for name in names]
    bars = left.barh([name.replace(": ", ":\n") for name in names], rates, color="#4878a8")
    left.bar_label(bars, fmt="%.1f", padding=3)
    left.invert_yaxis()
    left.set_xlabel("images/s of a training step")
    left.margins(x=0.15)
    for name, label in (("article", "article's step"), ("keras_recipe", "Keras recipe")):
        values = [report[f"amortised_{epochs}_vs_{name}"] for epochs in EPOCHS]
        right.plot(EPOCHS, values, marker="o", label=f"against the {label}")
    right.set_xscale("log", base=2)
    right.set_xticks(EPOCHS, map(str, EPOCHS))
    right.set_ylim(0)
    right.set_xlabel("epochs, trunk pass included")
    right.set_ylabel("times as fast")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target)


if __name__ == "__main__":
    typer.run(main)
