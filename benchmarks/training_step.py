"""Speed of a training step at 299 pixels: this project's against the 2017 article's.

The article back-propagated through every variable though only Mixed_7* was meant to be trained.
Both steps run in one process, on the same images, by turns; the medians are compared.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.quiet import quiet_native_output, set_up_environment


def main(
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 64,
    image_size: Annotated[int, typer.Option(help="Pixels a side.")] = 299,
    rounds: Annotated[int, typer.Option(help="Timed steps of each kind.")] = 5,
    output: Annotated[Path, typer.Option()] = Path("build/training_step.json"),
) -> None:
    set_up_environment(verbose=False)
    with quiet_native_output(verbose=False):
        import tensorflow as tf
    from components.backbone.keras_network import build_network
    from components.progress import progress
    from trainer import model
    from trainer.settings import Training

    training = Training(batch_size=batch_size, learning_rate=1e-3, schedule="constant")
    images = tf.random.stateless_uniform([batch_size, image_size, image_size, 3], [0, 0], -1, 1)
    labels = tf.random.stateless_uniform([batch_size], [1, 1], 0, 10, tf.int32)

    def make_step(trainable_from: str):
        network = model.build_classifier(
            build_network(image_size, training.batch_norm_momentum),
            trainable_from,
            classes=10,
            fresh=False,
            training=training,
        ).network
        model.compile_classifier(network, training, rounds)
        return lambda: network.train_on_batch(images, labels)

    steps = {
        "article: all variables": make_step("all"),
        "ours: from Mixed_7a": make_step("Mixed_7a"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    with progress("training steps", (rounds + 1) * len(steps), "steps") as advance:
        for turn in range(rounds + 1):
            for name, step in steps.items():
                started = time.perf_counter()
                step()
                if turn:  # the first one traces the graph
                    seconds[name].append(time.perf_counter() - started)
                advance(1)

    rates = {name: batch_size / statistics.median(times) for name, times in seconds.items()}
    article, ours = seconds.values()
    ratio = statistics.median(a / b for a, b in zip(article, ours, strict=True))
    table = Table(title=f"training step, {image_size} pixels, batch {batch_size}")
    table.add_column("step")
    table.add_column("images/s", justify="right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:.2f}")
    Console().print(table)
    print(f"ratio, median of {rounds} pairs: {ratio:.2f}")
    output.parent.mkdir(parents=True, exist_ok=True)
    report = {"images_per_second": rates, "online_vs_article": ratio}
    output.write_text(json.dumps(report, indent=2), "utf-8")


if __name__ == "__main__":
    typer.run(main)
