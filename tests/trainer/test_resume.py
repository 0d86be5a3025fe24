"""The whole command, killed with SIGKILL at random points of training; ``make test-resume``."""

import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

pytestmark = pytest.mark.resume

STEPS, CHECKPOINT_EVERY = 600, 7
# All that is drawn, or keeps a state of its own, besides the order of the images.
AUGMENTED = (
    *("image.views=[identity, flip_left_right]", "image.random_views=2"),
    *("image.augmentation.rand_augment=2", "image.augmentation.erase=0.5"),
    *("training.mixup=0.2", "training.cutmix=1.0", "training.balanced_sampling=0.5"),
    *("training.optimizer=adamw", "training.weight_decay=0.05", "training.layer_decay=0.9"),
    *("training.unfreeze_after=1", "training.ema_momentum=0.99", "training.class_weights=balanced"),
)
SEED = 20171124


def command(root: Path, cache: Path, settings: tuple[str, ...]) -> list[str]:
    return [
        *(
            sys.executable,
            "-m",
            "inception_finetune",
            "run",
            "--config",
            "digits",
        ),
        *(f"root={root}", f"cache={cache}", "compute_dtype=float32", "feature_cache=true"),
        *("backbone.trainable_from=Mixed_7c", "gate.min_accuracy=0"),
        *("training.epochs=null", f"training.steps={STEPS}", "training.batch_size=8"),
        *(f"training.checkpoint_every={CHECKPOINT_EVERY}", "training.learning_rate=0.0003"),
        *("training.log_every=1", *settings),
    ]


def saved_step(root: Path) -> int:
    """What the state on disk says."""
    states = list(root.glob("checkpoints/*/state/checkpoint"))
    return int(re.findall(r"ckpt-(\d+)", states[0].read_text())[0]) if states else 0


def run_and_kill(arguments: list[str], delay: float) -> tuple[str, bool]:
    """Kills `delay` seconds after the Trainer has begun; what was printed, and if it was killed."""
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    begun = threading.Event()

    def read() -> None:
        for line in process.stderr:
            lines.append(line)
            if line.strip() == "Trainer":
                begun.set()
        begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    begun.wait()
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.wait()
    reader.join()
    return "".join(lines), process.returncode == -signal.SIGKILL


def logged(root: Path) -> tuple[list[int], list[float]]:
    """Steps and losses of the training that was published, in the order of the files."""
    [model_run] = [
        path for path in root.glob("artifacts/Trainer/model_run/*") if list(path.iterdir())
    ]
    steps, losses = [], []
    for path in sorted((model_run / "train").glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag == "loss":
                    steps.append(event.step)
                    losses.append(tf.make_ndarray(value.tensor).item())
    return steps, losses


def weights(root: Path) -> dict[str, np.ndarray]:
    [pushed] = root.glob("serving/digits/*")
    reader = tf.train.load_checkpoint(str(pushed / "variables/variables"))
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {name: reader.get_tensor(name) for name in names}


@pytest.mark.parametrize(
    ("settings", "count"), [((), 20), (AUGMENTED, 10)], ids=["plain", "augmented"]
)
def test_kills_change_nothing(tmp_path, settings, count):
    chance = random.Random(SEED)
    subprocess.run(command(tmp_path / "whole", tmp_path / "cache", settings), check=True)
    killed, kills, resumed = tmp_path / "killed", 0, []
    while kills < count:
        before = saved_step(killed)
        output, was_killed = run_and_kill(
            command(killed, tmp_path / "cache", settings), chance.uniform(0, 14)
        )
        assert was_killed, f"trained to the end after {kills} kills: make training longer"
        kills += 1
        said = re.search(r"goes on after step ([\d,]+)", output)
        if said:
            resumed.append(int(said.group(1).replace(",", "")))
            assert resumed[-1] == before  # no step that was saved is trained again
        assert saved_step(killed) >= before
        print(f"kill {kills}: resumed at {before}, saved {saved_step(killed)}", flush=True)
    subprocess.run(command(killed, tmp_path / "cache", settings), check=True)

    steps, losses = logged(killed)
    expected_steps, expected_losses = logged(tmp_path / "whole")
    assert steps == expected_steps == list(range(1, STEPS + 1))
    assert losses == expected_losses
    found, expected = weights(killed), weights(tmp_path / "whole")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert len(set(resumed)) > count // 4
