"""Training as a whole: what is logged, kept and stopped, and that a killed run goes on."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from helpers.small_training import (
    Pictures,
    execution,
    make_sources,
    settings_for,
    small_classifier,
)
from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.learning_curve import read_history
from inception_finetune.trainer import fit, observers, optimizers
from inception_finetune.trainer.checkpoints import Checkpoints
from inception_finetune.trainer.settings import TrainerSettings


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return make_sources(tmp_path_factory.mktemp("features"))


def train(
    sources, directory: Path, settings: TrainerSettings, checkpoint_every: int = 4
) -> list[np.ndarray]:
    """The weights at the end."""
    classifier = small_classifier(settings.training)
    fit.fit(classifier, *sources, settings, str(directory), execution(checkpoint_every))
    return [*classifier.upper.get_weights(), *classifier.head.get_weights()]


def events(directory: Path, run: str) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each scalar, in the order in which they lie in the files."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((directory / "logs" / run).glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    number = tf.make_ndarray(value.tensor).item()
                    found.setdefault(value.tag, []).append((event.step, number))
                else:
                    kind = value.metadata.plugin_data.plugin_name or "graph"
                    found.setdefault(kind, []).append((event.step, 0.0))
    return found


class Killed(BaseException):
    """Not an Exception: nothing may catch it and tidy up, as after SIGKILL."""


# All that draws random numbers or keeps a state.
EVERYTHING = {
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "layer_decay": 0.5,
    "unfreeze_after": 1,
    "mixup": 0.4,
    "cutmix": 1.0,
    "ema_momentum": 0.9,
    "class_weights": "effective",
    "balanced_sampling": 0.5,
    "focal_gamma": 1.0,
    "clip_norm": 1.0,
}


@pytest.fixture(params=[{}, EVERYTHING], ids=["plain", "everything"])
def settings(request) -> TrainerSettings:
    return settings_for(**request.param)


@pytest.fixture
def whole(sources, tmp_path, settings):
    """A run that nobody interrupts: 18 steps, of which 6 make an epoch."""
    return train(sources, tmp_path / "whole", settings)


@pytest.mark.parametrize("last_step", [1, 5, 6, 9, 17, 18])
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(
    sources, tmp_path, whole, settings, monkeypatch, last_step
):
    directory = tmp_path / "killed"
    killed_at = []

    def die(self, metrics) -> None:
        if metrics.step == last_step:
            killed_at.append(metrics.step)
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(observers.ProgressLines, "on_step", die)
        train(sources, directory, settings)
    again = train(sources, directory, settings)
    for found, expected in zip(again, whole, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert killed_at == [last_step]
    assert_same_logs(directory, tmp_path / "whole")


def assert_same_logs(directory: Path, expected: Path) -> None:
    assert read_history(f"{directory}/logs/history.csv") == read_history(
        f"{expected}/logs/history.csv"
    )
    for run in ("train", "validation"):
        found, wanted = events(directory, run), events(expected, run)
        for tag in wanted:
            if tag not in ("seconds_per_step", "images_per_second"):
                assert found[tag] == wanted[tag], tag


def test_a_resumed_run_repeats_no_step_before_its_checkpoint(sources, tmp_path, monkeypatch):
    settings, steps = settings_for(), []

    def note(self, metrics) -> None:
        steps.append(metrics.step)
        if steps.count(11) == 1 and metrics.step == 11:
            raise Killed

    monkeypatch.setattr(observers.ProgressLines, "on_step", note)
    with pytest.raises(Killed):
        train(sources, tmp_path, settings, checkpoint_every=4)
    train(sources, tmp_path, settings, checkpoint_every=5)
    assert steps == [*range(1, 12), *range(9, 19)]  # the last state was that of step 8


def test_another_seed_gives_other_weights(sources, tmp_path, whole, settings):
    training = settings.training.model_copy(update={"seed": 1})
    other = train(sources, tmp_path / "other", settings.model_copy(update={"training": training}))
    assert not np.allclose(other[0], whole[0])


def test_every_step_and_epoch_is_logged(sources, tmp_path):
    settings = settings_for()
    train(sources, tmp_path, settings)
    steps, epochs = events(tmp_path, "train"), events(tmp_path, "validation")
    for tag in ("loss", "accuracy", "learning_rate", "gradient_norm", "images_per_second"):
        assert [step for step, _ in steps[tag]] == list(range(1, 19)), tag
    schedule = optimizers.learning_rate(settings.training, 18)
    rates = [value for _, value in steps["learning_rate"]]
    np.testing.assert_allclose(rates, [float(schedule(step)) for step in range(18)], rtol=1e-6)
    assert [step for step, _ in steps["histograms"]] == [6] * 4 + [12] * 4 + [18] * 4
    assert [step for step, _ in epochs["epoch_accuracy"]] == [6, 12, 18]
    assert [step for step, _ in epochs["images"]] == [6, 6, 12, 12, 18, 18]
    rows = read_history(str(tmp_path / "logs/history.csv"))
    losses = np.array([value for _, value in steps["loss"]]).reshape(3, 6)
    np.testing.assert_allclose([row["loss"] for row in rows], losses.mean(axis=1), rtol=1e-5)


def test_metrics_are_means_of_the_steps_since_the_last_ones(sources, tmp_path):
    settings = settings_for()
    each, few = tmp_path / "each", tmp_path / "few"
    for directory, log_every in ((each, 1), (few, 5)):
        classifier = small_classifier(settings.training)
        fit.fit(classifier, *sources, settings, str(directory), execution(100, log_every))
    expected, found = (dict(events(one, "train")["loss"]) for one in (each, few))
    assert list(found) == [5, 6, 10, 12, 15, 18]  # epochs end after 6, 12 and 18
    assert found[5] == pytest.approx(np.mean([expected[step] for step in range(1, 6)]))
    assert found[15] == pytest.approx(np.mean([expected[step] for step in (13, 14, 15)]))
    assert read_history(f"{each}/logs/history.csv") == [
        pytest.approx(row) for row in read_history(f"{few}/logs/history.csv")
    ]


def test_blocks_that_would_never_learn_are_refused(sources, tmp_path):
    with pytest.raises(UserError, match="for 18 steps, and the training has 18: .*from=head"):
        train(sources, tmp_path, settings_for(unfreeze_after=3))


class Watched(Pictures):
    """Another source, and how many examples were read from it at a time."""

    def __init__(self, source) -> None:
        self.source, self.sizes = source, []

    def __len__(self) -> int:
        return len(self.source)

    def dataset(self, plan, choose):
        def counted(number):
            chosen = choose(number)
            self.sizes.append(len(chosen.examples))
            return chosen

        return self.source.dataset(plan, counted)


def test_no_more_than_a_batch_is_in_memory_and_all_are_embedded(sources, tmp_path, monkeypatch):
    """400 pictures of 299 pixels at once took 4 GB more than training itself."""
    monkeypatch.setattr(fit, "SHOWN", 6)
    train_source, validation, pictures = sources
    watched = Watched(validation), Watched(pictures)
    train((train_source, *watched), tmp_path, settings_for(epochs=1))
    assert [max(one.sizes) for one in watched] == [16, 16]
    assert (sum(watched[0].sizes), sum(watched[1].sizes)) == (40 + 40, 6 + 40)
    directory = tmp_path / "logs/validation"
    vectors = np.fromfile(directory / "vectors.bin", "<f4").reshape(40, 6)
    assert len(np.unique(vectors, axis=0)) == 40
    labels = [row.split("\t")[0] for row in (directory / "metadata.tsv").read_text().splitlines()]
    names = settings_for().label_names
    [(_, truth)] = validation.batches(40)
    assert labels == ["label", *(names[label] for label in truth)]


def test_training_stops_without_progress_and_exports_the_best_epoch(sources, tmp_path):
    values = {"learning_rate": 0.3, "schedule": "constant", "batch_norm_momentum": 0.99}
    settings = settings_for(epochs=60, patience=2, **values)
    classifier = small_classifier(settings.training)
    fit.fit(classifier, *sources, settings, str(tmp_path), execution(100))
    rows = read_history(str(tmp_path / "logs/history.csv"))
    ranks = [(row["val_accuracy"], -row["val_loss"]) for row in rows]
    best = ranks.index(max(ranks))
    assert len(rows) == best + 3 < 60
    [(inputs, labels)] = sources[1].batches(40)
    found = tf.argmax(classifier.network(inputs, training=False), axis=-1)
    assert np.mean(found == labels) == pytest.approx(rows[best]["val_accuracy"])
    assert rows[best]["val_accuracy"] > rows[-1]["val_accuracy"]
    # Started again after its end, it trains no further and exports the same.
    again = small_classifier(settings.training)
    fit.fit(again, *sources, settings, str(tmp_path), execution(100))
    assert len(read_history(str(tmp_path / "logs/history.csv"))) == len(rows)
    np.testing.assert_array_equal(again.head.get_weights()[0], classifier.head.get_weights()[0])


def test_the_last_epoch_is_exported_where_that_is_asked_for(sources, tmp_path):
    values = {"epochs": 8, "learning_rate": 0.3, "schedule": "constant"}
    last = train(sources, tmp_path / "a", settings_for(**values, restore_best=False))
    best = train(sources, tmp_path / "b", settings_for(**values))
    assert not np.allclose(last[0], best[0])


def test_an_infinite_loss_stops_at_once_and_says_where(sources, tmp_path):
    settings = settings_for(learning_rate=1e30, schedule="constant")
    with pytest.raises(UserError, match=r"at step [1-6] with learning rate 1e\+30; (the last|no)"):
        train(sources, tmp_path, settings)
    assert not (tmp_path / "logs/history.csv").exists()


@pytest.mark.parametrize("file", ["*.data-*", "*.index", "checkpoint"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "changed", "missing"])
def test_a_damaged_checkpoint_is_named(tmp_path, file, damage):
    def make() -> Checkpoints:
        weight = tf.train.Checkpoint(value=tf.Variable(tf.ones([20, 20])))
        return Checkpoints(str(tmp_path), {"weight": weight})

    make().save(6)
    [path] = (tmp_path / "state").glob(file)
    content = path.read_bytes()
    changed = bytes(byte ^ (255 if number % 7 == 0 else 0) for number, byte in enumerate(content))
    path.write_bytes({"cut": content[:100], "changed": changed}.get(damage, b""))
    if damage == "missing":
        path.unlink()
        if file == "checkpoint":  # as after a kill in the first save: nothing was saved
            assert make().restore() == 0
            return
    line = rf"Checkpoint in {tmp_path} is unreadable \(.+\)\. Delete the folder to train from"
    with pytest.raises(UserError, match=line):
        make().restore()


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.UnavailableError(None, None, "Connection reset by peer"),
        tf.errors.AbortedError(None, None, "collective ops mismatch"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"),
        tf.errors.OpError(None, None, "state/ckpt-6.index; Permission denied", 2),
    ],
)
def test_a_whole_checkpoint_is_never_called_damaged(tmp_path, monkeypatch, error):
    checkpoints = Checkpoints(str(tmp_path), {"weight": tf.train.Checkpoint(v=tf.Variable(1.0))})
    checkpoints.save(6)

    def fail(*arguments):
        raise error

    monkeypatch.setattr(tf.train.Checkpoint, "restore", fail)
    with pytest.raises(type(error), match=error.message):
        checkpoints.restore()


def test_a_better_epoch_survives_only_with_the_state_that_knows_it(tmp_path):
    weight = tf.Variable(1.0)
    checkpoints = Checkpoints(str(tmp_path), {"weight": tf.train.Checkpoint(value=weight)})
    checkpoints.note(1, accuracy=0.5, loss=1.0)
    checkpoints.save(6)
    weight.assign(2.0)
    checkpoints.note(2, accuracy=0.6, loss=1.0)  # killed before the next save
    resumed = Checkpoints(str(tmp_path), {"weight": tf.train.Checkpoint(value=weight)})
    assert resumed.restore() == 6 and resumed.best_epoch == 1
    resumed.restore_best()
    assert weight.numpy() == 1.0
    weight.assign(3.0)
    resumed.note(2, accuracy=0.5, loss=1.0)  # no better
    resumed.note(3, accuracy=0.5, loss=0.9)  # the same accuracy, less loss
    assert resumed.best_epoch == 3


@pytest.mark.parametrize(("momentum", "left"), [("auto", 0.0), (0.99, 0.99**18)])
def test_moving_statistics_are_those_of_the_train_pictures_after_few_steps(
    sources, tmp_path, momentum, left
):
    # Nothing else moves.
    settings = settings_for(learning_rate=1e-9, batch_norm_momentum=momentum)
    classifier = small_classifier(settings.training)
    fit.fit(classifier, *sources, settings, str(tmp_path), execution())
    convolution, norm, *_ = classifier.upper.layers[1:]
    inputs = np.concatenate([batch.numpy() for batch, _ in sources[0].batches(100)])
    outputs = convolution(inputs).numpy()
    expected = left + (1 - left) * outputs.var(axis=(0, 1, 2))  # it begins at 1
    np.testing.assert_allclose(norm.moving_variance, expected, rtol=0.2)


def test_momentum_of_the_moving_statistics_by_the_number_of_steps():
    automatic = [settings_for().training.batch_norm_momentum_over(n) for n in (1, 36, 890, 10**6)]
    assert automatic == [pytest.approx(2 / 11), pytest.approx(37 / 46), 0.99, 0.99]
    assert settings_for(batch_norm_momentum=0.9).training.batch_norm_momentum_over(36) == 0.9
