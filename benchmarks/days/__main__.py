"""``python -m benchmarks.days month|quiet|warm|kills``: what was measured is printed and written.

`quiet` and `kills` need the month in the same folder; `warm` is for itself.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.days.kills import measure_kills
from benchmarks.days.month import measure_month, print_month
from benchmarks.days.pictures import DAYS, Month, given, prepare
from benchmarks.days.quiet import measure_quiet
from benchmarks.days.warm import measure_warm
from inception_finetune.pipeline.cli.options import load_tensorflow

_Archive = Annotated[str, typer.Option(help="CIFAR-10, or a path in its form.")]
_Backbone = Annotated[str, typer.Option(help="A handle.")]
_PerDay = Annotated[int, typer.Option(help="Pictures of each day.")]
_Golden = Annotated[int, typer.Option(help="Test pictures.")]
_Output = Annotated[Path, typer.Option(help="Folder for all that is made; each once.")]
_Overrides = Annotated[list[str] | None, typer.Argument(help="KEY=VALUE settings.")]
_MADE: Final = Path("build/days")
_MONTH: Final = "month"

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def month(
    archive: _Archive = "cifar10",
    backbone: _Backbone = "standin",
    per_day: _PerDay = 250,
    golden: _Golden = 500,
    days: Annotated[int, typer.Option(help="Of the month.")] = DAYS,
    output: _Output = _MADE,
    overrides: _Overrides = None,
) -> None:
    """Days with and without shifts, watched."""
    load_tensorflow(verbose=False)
    month_of = Month(archive, backbone, per_day, golden, tuple(overrides or ()))
    found = measure_month(prepare(month_of, output.resolve(), _MONTH), days)
    _write(output, _MONTH, {**month_of._asdict(), **found})
    print_month(found)


@app.command()
def quiet(
    months: Annotated[int, typer.Option(help="Without a shift.")] = 200, output: _Output = _MADE
) -> None:
    """How many months in which nothing changes raise an alarm; after `month`."""
    load_tensorflow(verbose=False)
    month_of, _ = _read_month(output)
    found = measure_quiet(given(month_of, output.resolve(), _MONTH), months)
    _write(output, "quiet", found)
    print(f"{months} quiet months, share with an alarm: {found['share']:.3f}")


@app.command()
def kills(
    count: Annotated[int, typer.Option(help="SIGKILLs.")] = 10, output: _Output = _MADE
) -> None:
    """The month again, killed at random moments; after `month`."""
    load_tensorflow(verbose=False)
    month_of, rows = _read_month(output)
    seconds = [row["seconds"] for row in rows]
    found = measure_kills(prepare(month_of, output.resolve(), "kills"), seconds, count)
    _write(output, "kills", found)
    print(", ".join(f"{name}: {value}" for name, value in found.items()))


@app.command()
def warm(
    archive: _Archive = "cifar10",
    backbone: _Backbone = "standin",
    per_day: _PerDay = 250,
    golden: _Golden = 500,
    seeds: Annotated[int, typer.Option(help="Comparisons.")] = 3,
    output: _Output = _MADE,
    overrides: _Overrides = None,
) -> None:
    """Accuracy of a warm start in a third of the steps of a cold one."""
    load_tensorflow(verbose=False)
    month_of = Month(archive, backbone, per_day, golden, tuple(overrides or ()))
    found = []
    for seed in range(seeds):
        found.append(measure_warm(prepare(month_of, output.resolve(), f"warm-{seed}"), seed))
        _write(output, "warm", found)
        print(f"seed {seed}: cold {found[-1]['cold']}, warm {found[-1]['warm']}", flush=True)


def _write(output: Path, name: str, found: Any) -> None:
    (output / f"{name}.json").write_text(json.dumps(found, indent=2), "utf-8")


def _read_month(output: Path) -> tuple[Month, list[dict[str, Any]]]:
    file = output / f"{_MONTH}.json"
    if not file.is_file():
        raise typer.BadParameter(f"no {file}: run the command month first")
    found = json.loads(file.read_text("utf-8"))
    return Month(*(found[field] for field in Month._fields)), found["days"]


if __name__ == "__main__":
    app()
