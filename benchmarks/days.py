"""``python -m benchmarks.days``: a month of days that are watched, with and without shifts.

Real pictures of a CIFAR archive come day by day. Shares of classes are stable for 20 days, but for
a new class on day 15. Then three kinds of shift follow one another: shares, levels, content.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image

from benchmarks.data import Pictures, as_png, load_pictures
from inception_finetune.components import features
from inception_finetune.pipeline.cli.options import load_tensorflow
from inception_finetune.pipeline.config import Config, load_config

DAYS: Final = 30
NEW_CLASS_DAY: Final = 15
# First day of each kind of shift; it lasts until the next begins.
SHIFTS: Final = {"shares of classes": 21, "levels": 24, "content": 27}
_MONTH: Final = "2026-11"
_QUIET_PICTURES: Final = 4000  # that quiet months draw from
_WARM_DAYS: Final = (14, 17)  # trained on by the first model, and by those that follow it


def day_of(pictures: Pictures, day: int, count: int, random: np.random.Generator) -> Pictures:
    """Draws the pictures of a day from the train pictures, shifted as that day is.

    Args:
      pictures: of the archive; its last class is the new one.
      day: from 1 on.
      count: of pictures.
      random: draws them.
    """
    classes = len(pictures.label_names)
    shares = np.ones(classes)
    if day < NEW_CLASS_DAY:
        shares[-1] = 0
    kind = next((name for name, first in reversed(SHIFTS.items()) if day >= first), "")
    if kind == "shares of classes":
        shares[: classes // 2] *= 4
    labels = random.choice(classes, count, p=shares / shares.sum())
    is_train = np.array(pictures.splits) == features.TRAIN
    drawn = np.array(
        [random.choice(np.flatnonzero(is_train & (pictures.labels == label))) for label in labels]
    )
    images = pictures.images[drawn]
    if kind == "levels":
        images = (images * 0.6).astype(np.uint8)  # darker, and flatter
    elif kind == "content":
        images = images[:, ::-1, ::-1]  # upside down
    return Pictures(images, labels, [features.TRAIN] * count, pictures.label_names)


def write_pictures(pictures: Pictures, folder: Path) -> None:
    """Writes ``CLASS/NUMBER.png``; the folder has its name when it is whole."""
    scratch = folder.with_name(f"{folder.name}.part")
    for number, (image, label) in enumerate(zip(pictures.images, pictures.labels, strict=True)):
        path = scratch / pictures.label_names[label] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_png(Image.fromarray(image)))
    scratch.rename(folder)


def settings(archive: str, backbone: str, place: Path, more: Sequence[str]) -> list[str]:
    """Returns the overrides of a month below `place`."""
    return [
        *(f"root={place / 'root'}", f"cache={place.parent / 'cache'}"),
        f"backbone.handle={backbone}",
        f"dataset.spans={place}/days/{{YYYY}}-{{MM}}-{{DD}}",
        *(f"dataset.golden={place.parent / 'golden'}", "dataset.window=10", "dataset.min_spans=7"),
        *("dataset.validation_fraction=0.3", "dataset.on_leakage=skip"),
        *("image.size=75", "image.views=[identity]", "backbone.trainable_from=Mixed_6d"),
        *("training.epochs=3", "training.learning_rate=0.0005", "training.start_from=blessed"),
        *("gate.min_accuracy=0", "infra.server=none"),
        *("watch.new_pictures=600", "watch.cool_down=2"),
        *more,
    ]


def month(
    pictures: Pictures, place: Path, config: Config, per_day: int, days: int
) -> Iterator[tuple[int, float, Any]]:
    """Lets the days come one by one, with a pass after each.

    Yields:
      The day, the seconds of its pass, and what the pass did.
    """
    from inception_finetune.pipeline.watch.watch import watch_once

    for day in range(1, days + 1):
        random = np.random.default_rng([0, day])
        folder = place / f"days/{_MONTH}-{day:02}"
        write_pictures(day_of(pictures, day, per_day, random), folder)
        begun = time.monotonic()
        done = watch_once(config, print)
        yield day, time.monotonic() - begun, done


def measure_month(
    pictures: Pictures, place: Path, overrides: Sequence[str], per_day: int, days: int
) -> dict[str, Any]:
    """The month itself: costs, decisions, windows, accuracy, delays."""
    from inception_finetune.components.model_report.settings import FACTS
    from inception_finetune.components.steps import Step
    from inception_finetune.pipeline.history.runs import read_latest_run
    from inception_finetune.pipeline.watch.lines import read_lines

    config = load_config("cifar10", overrides)
    rows, old = [], pictures.label_names[:-1]
    for day, seconds, done in month(pictures, place, config, per_day, days):
        [line] = done.lines
        row = {"day": day, "seconds": round(seconds, 1), "look": line.look, "p": line.smallest_p}
        row |= {"test": line.test, "level": line.level, "alarms": line.alarms}
        if done.carried_out:
            run = read_latest_run(config)
            facts = json.loads(
                Path(run.uri(Step.MODEL_REPORT, "model_report"), FACTS).read_text("utf-8")
            )
            by_class = {one["name"]: one for one in facts["classes"] if one["name"] in old}
            images = sum(one["images"] for one in by_class.values())
            row |= {
                "reason": done.carried_out.reason,
                "verdict": done.carried_out.verdict,
                "window": sorted(run.spans),
                "computed": sum(
                    step["images"] or 0
                    for step in facts["steps"]
                    if step["name"] == Step.TRUNK_FEATURES
                ),
                "accuracy": facts["accuracy"]["value"],
                "old classes": sum(one["correct"] for one in by_class.values()) / images,
                "start": facts["start"],
            }
        rows.append(row)
        print(json.dumps({key: row[key] for key in row if key not in ("window", "start")}))
    return {
        "days": rows,
        "delays": delays(rows),
        "lines": [asdict(line) | {"when": str(line.when)} for line in read_lines(config)],
        "metadata_bytes": (place / "root/metadata.sqlite").stat().st_size,
    }


def delays(rows: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """Returns the days from the first of each shift to the first alarm in it; 0 is the same day."""
    starts = {"new class": NEW_CLASS_DAY, **SHIFTS}
    ends = [*list(starts.values())[1:], DAYS + 1]
    return {
        name: next(
            (row["day"] - first for row in rows if first <= row["day"] < end and row["alarms"]),
            None,
        )
        for (name, first), end in zip(starts.items(), ends, strict=True)
    }


def measure_kills(
    pictures: Pictures,
    place: Path,
    overrides: Sequence[str],
    per_day: int,
    seconds: Sequence[float],
    kills: int,
) -> dict[str, Any]:
    """The month again, each pass a command, some of them killed at a random moment.

    Args:
      pictures: of the archive.
      place: below which it is.
      overrides: of its configuration.
      per_day: pictures.
      seconds: of each day's pass in the month that was not killed.
      kills: how many.
    """
    from inception_finetune.pipeline.history.outcome import latest_pushed
    from inception_finetune.pipeline.watch.lines import PUSHED, read_lines

    random = np.random.default_rng(1)
    # A moment of the month: a day by the time that it takes, and a time in it.
    whole = np.array(seconds) + 8.0  # a command loads its libraries first
    moments: dict[int, list[float]] = {}
    for day in random.choice(len(whole), kills, p=whole / whole.sum()):
        moments.setdefault(int(day) + 1, []).append(float(random.uniform(0, whole[day])))
    code = "from inception_finetune.pipeline.cli.main import main; main()"
    command = [sys.executable, "-c", code, "watch", "--once", "-c", "cifar10", *overrides]
    killed = 0
    for day in range(1, len(whole) + 1):
        write_pictures(
            day_of(pictures, day, per_day, np.random.default_rng([0, day])),
            place / f"days/{_MONTH}-{day:02}",
        )
        for moment in [*moments.get(day, []), None]:
            process = subprocess.Popen(command, start_new_session=True)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                print(f"day {day}: killed after {moment:.1f} s", flush=True)
    config = load_config("cifar10", overrides)
    lines = read_lines(config)
    looks: dict[str, list[int]] = {}
    for line in lines:
        if line.look:
            looks.setdefault(line.model, []).append(line.look)
    pushed = [line.version for line in lines if line.verdict == PUSHED]
    newest = latest_pushed(config)
    versions = len(list(newest.parent.iterdir())) if newest else 0
    stored = [path for path in (place / "root/spans").iterdir() if path.name != "golden"]
    return {
        "killed": killed,
        "days": len(whole),
        "lines": len(lines),
        "spans of the lines": len({line.span for line in lines}),
        "looks of each model are 1 to n": all(
            found == list(range(1, len(found) + 1)) for found in looks.values()
        ),
        "decided runs": sum(line.decision == "run" for line in lines),
        "of these without a verdict": sum(line.is_open for line in lines),
        "pushed by lines": len(set(pushed)),
        "versions in service's folder": versions,
        "stored spans": len(stored),
    }


def measure_quiet(
    pictures: Pictures, place: Path, overrides: Sequence[str], months: int, per_day: int
) -> dict[str, Any]:
    """Months in which nothing changes, on what the first model of the month sees; none trains.

    The pictures are measured once. Each month draws a sample that the model would be
    compared with, and its days from the rest.
    """
    from inception_finetune.components.drift.look import take_look

    config = load_config("cifar10", overrides)
    measured = _measure_all(pictures, place, config)
    count = len(measured["labels"])
    classes = int(measured["labels"].max()) + 1
    reference_size, alarms, begun = per_day * 7, [], time.monotonic()
    for number in range(months):
        random = np.random.default_rng([2, number])
        order = random.permutation(count)
        train, validation, rest = np.split(order, [reference_size, reference_size * 3 // 2])
        reference = _measured(measured, train, classes, validation)
        for day in range(1, DAYS + 1):
            look = take_look(
                reference,
                _measured(measured, random.choice(rest, per_day, replace=False), classes),
                day,
                false_alarm=config.watch.false_alarm,
                permutations=config.watch.permutations,
                allowed_shift=config.drift.label_shift,
                seed=number * DAYS + day,
            )
            if look.alarms:
                alarms.append({"month": number, "day": day, "tests": list(look.alarms)})
                break
        if number % 20 == 0:
            print(f"{number} of {months} quiet months, {len(alarms)} alarms", flush=True)
    seconds = (time.monotonic() - begun) / max(1, months * DAYS)
    share = len(alarms) / months
    return {"months": months, "alarms": alarms, "share": share, "seconds a look": seconds}


def _measure_all(pictures: Pictures, place: Path, config: Config) -> dict[str, npt.NDArray[Any]]:
    """What a look measures of each train picture, once."""
    from inception_finetune.components.drift import pictures as drift_pictures
    from inception_finetune.components.progress import progress
    from inception_finetune.pipeline.watch.reference import find_model
    from inception_finetune.trainer.embedding import Embedder

    file = place / "measured.npz"
    if not file.is_file():
        model = find_model(config)
        assert model is not None
        taken = np.flatnonzero(np.array(pictures.splits) == features.TRAIN)[:_QUIET_PICTURES]
        encoded = [as_png(Image.fromarray(pictures.images[index])) for index in taken]
        with progress("Measuring", len(encoded), "pictures") as advance:
            seen = drift_pictures.measure(encoded, advance).statistics
        with progress("Embedding", len(encoded), "pictures") as advance:
            embeddings = Embedder(model.directory).embed(encoded, advance)
        np.savez(file, labels=pictures.labels[taken], statistics=seen, embeddings=embeddings)
    with np.load(file) as stored:
        return {name: stored[name] for name in stored}


def _measured(
    measured: Mapping[str, npt.NDArray[Any]],
    chosen: npt.NDArray[np.int64],
    classes: int,
    embedded: npt.NDArray[np.int64] | None = None,
) -> Any:
    from inception_finetune.components.drift.look import Measured

    return Measured(
        labels=np.bincount(measured["labels"][chosen], minlength=classes),
        statistics=measured["statistics"][chosen],
        embeddings=measured["embeddings"][chosen if embedded is None else embedded],
    )


def measure_warm(
    pictures: Pictures, place: Path, overrides: Sequence[str], per_day: int, seed: int
) -> dict[str, Any]:
    """Steps until a warm start has the cold one's best validation accuracy, on a later window."""
    from inception_finetune.pipeline import local

    before, after = _WARM_DAYS
    seeded = [*overrides, f"training.seed={seed}", "dataset.window=14", "training.epochs=6"]
    for day in range(1, before + 1):
        random = np.random.default_rng([3, seed, day])
        write_pictures(day_of(pictures, day, per_day, random), place / f"days/{_MONTH}-{day:02}")
    local.run(load_config("cifar10", seeded))
    for day in range(before + 1, after + 1):
        # Without the new class: both have the same to learn.
        random = np.random.default_rng([3, seed, day])
        write_pictures(day_of(pictures, 1, per_day, random), place / f"days/{_MONTH}-{day:02}")
    warm = _curve(load_config("cifar10", seeded))
    cold = _curve(load_config("cifar10", [*seeded, "training.start_from=backbone"]))
    target = max(row["val_accuracy"] for row in cold)
    [of_cold, *_] = [row["step"] for row in cold if row["val_accuracy"] >= target]
    of_warm = next((row["step"] for row in warm if row["val_accuracy"] >= target), None)
    return {
        **{"seed": seed, "target": target, "steps": {"warm": of_warm, "cold": of_cold}},
        "ratio": None if of_warm is None else of_warm / of_cold,
        "warm": [(row["step"], row["val_accuracy"]) for row in warm],
        "cold": [(row["step"], row["val_accuracy"]) for row in cold],
    }


def _curve(config: Config) -> list[dict[str, float]]:
    from inception_finetune.components.evaluation.learning_curve import FILE, read_history
    from inception_finetune.components.steps import Step
    from inception_finetune.pipeline import local
    from inception_finetune.pipeline.history.runs import read_latest_run

    local.run(config)
    return read_history(f"{read_latest_run(config).uri(Step.TRAINER, 'model_run')}/{FILE}")


def main(
    archive: Annotated[str, typer.Option(help="CIFAR-10, or a path in its form.")] = "cifar10",
    backbone: Annotated[str, typer.Option(help="A handle or file of weights.")] = "standin",
    pictures_a_day: Annotated[int, typer.Option(help="Of each day.")] = 100,
    golden: Annotated[int, typer.Option(help="Test pictures.")] = 500,
    days: Annotated[int, typer.Option(help="Of the month that is watched.")] = DAYS,
    quiet_months: Annotated[int, typer.Option(help="Months without a shift.")] = 0,
    kills: Annotated[int, typer.Option(help="SIGKILLs in a second month.")] = 0,
    warm_seeds: Annotated[int, typer.Option(help="Comparisons of warm and cold starts.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for days.json and all else.")] = Path(
        "build/days"
    ),
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE settings.")] = None,
) -> None:
    """A simulated month of days; what was measured is printed and written to days.json."""
    load_tensorflow(verbose=False)
    output = output.resolve()
    shutil.rmtree(output, ignore_errors=True)
    pictures = load_pictures(load_config("cifar10", [f"dataset.archive={archive}"]))
    is_test = np.flatnonzero(np.array(pictures.splits) == features.TEST)
    tested = np.random.default_rng(4).permutation(is_test)[:golden]
    chosen = pictures.images[tested], pictures.labels[tested]
    golden_set = Pictures(*chosen, [features.TEST] * len(tested), pictures.label_names)
    write_pictures(golden_set, output / "golden")
    report: dict[str, Any] = {"conditions": {"pictures a day": pictures_a_day, "golden": golden}}

    def place(name: str) -> tuple[Path, list[str]]:
        folder = output / name
        (folder / "days").mkdir(parents=True)
        return folder, settings(archive, backbone, folder, overrides or ())

    def save(name: str, found: Any) -> None:
        report[name] = found
        (output / "days.json").write_text(json.dumps(report, indent=2), "utf-8")

    folder, given = place("month")
    save("month", measure_month(pictures, folder, given, pictures_a_day, days))
    if quiet_months:
        save("quiet", measure_quiet(pictures, folder, given, quiet_months, pictures_a_day))
    if warm_seeds:
        found = []
        for seed in range(warm_seeds):
            found.append(measure_warm(pictures, *place(f"warm-{seed}"), pictures_a_day, seed))
            save("warm", found)
    if kills:
        seconds = [row["seconds"] for row in report["month"]["days"]]
        save("kills", measure_kills(pictures, *place("kills"), pictures_a_day, seconds, kills))
    _print(report)
    print(f"written: {output / 'days.json'}")


def _print(report: Mapping[str, Any]) -> None:
    rows = report["month"]["days"]
    runs = [row for row in rows if "reason" in row]
    quiet = [row["seconds"] for row in rows if "reason" not in row]
    print(f"a day without a run: median {statistics.median(quiet):.1f} s")
    for row in runs:
        print(
            f"day {row['day']}: {row['seconds']:.0f} s, {row['computed']} trunk images, "
            f"{len(row['window'])} spans {row['window'][0]} to {row['window'][-1]}, accuracy "
            f"{row['accuracy']:.3f}, old classes {row['old classes']:.3f}, {row['verdict']}: "
            f"{row['reason']}"
        )
    print(f"days until an alarm: {report['month']['delays']}")
    if quiet_found := report.get("quiet"):
        print(
            f"{quiet_found['months']} quiet months, share with an alarm: {quiet_found['share']:.3f}"
        )
    for one in report.get("warm", ()):
        print(f"seed {one['seed']}: steps {one['steps']}, ratio {one['ratio']}")
    if killed := report.get("kills"):
        print(", ".join(f"{name}: {value}" for name, value in killed.items()))


if __name__ == "__main__":
    typer.run(main)
