"""Columns that a person names: of lists, Parquet and Arrow, where they are not to be found."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.made_layouts import CLASSES, Made, converted, expected, made, read_out, without_splits
from inception_finetune.components.dataset.column_names import ColumnNames
from inception_finetune.components.dataset.layout import layout_of
from inception_finetune.components.dataset.manifest import load_manifest
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config

EXPECTED = without_splits(expected("train"))
IMAGE, LABEL = "dataset.image_column=was hier", "dataset.label_column=art"
NAMED = ColumnNames("was hier", "art")


def pictures_in(root: Path) -> list[tuple[str, Made]]:
    """Writes the train pictures beside a list, and returns their names."""
    root.mkdir()
    for one in made("train"):
        (root / f"{one.number}.png").write_bytes(one.png)
    return [(f"{one.number}.png", one) for one in made("train")]


def write_list(root: Path, form: str) -> Path:
    """A list whose columns no spelling tells, and which has others that look like classes."""
    rows = [
        {"lage": "x", "was hier": name, "art": CLASSES[one.label], "label": "same", "split": ""}
        for name, one in pictures_in(root)
    ]
    source = root / f"list.{form}"
    if form == "jsonl":
        source.write_text("\n".join(map(json.dumps, rows)))
    else:
        mark = {"csv": ";", "tsv": "\t"}[form]
        lines = [list(rows[0]), *(list(row.values()) for row in rows)]
        source.write_text("\n".join(map(mark.join, lines)))
    return source


def write_table(source: Path, kind: str = "parquet") -> Path:
    """Two columns of pictures and two of classes."""
    source.parent.mkdir(exist_ok=True)
    table = pa.table(
        {
            "depth": [b"no picture"] * 12,
            "was hier": [one.png for one in made("train")],
            "label": [one.number % 2 for one in made("train")],
            "art": [CLASSES[one.label] for one in made("train")],
            "box": [[1, 2]] * 12,
        }
    )
    if kind == "parquet":
        pq.write_table(table, source)
    else:
        with pa.OSFile(str(source), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    return source


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_columns_of_lists_are_named(tmp_path, form, capsys):
    source = write_list(tmp_path / "in", form)
    with pytest.raises(UserError):
        converted(source)
    capsys.readouterr()
    manifest = converted(source, IMAGE, LABEL)
    assert without_splits(read_out(source)) == EXPECTED and manifest.label_names == CLASSES
    assert capsys.readouterr().err.splitlines()[0] == (
        f"Layout of {source}: list list.{form}, 3 classes (pictures by 'was hier', classes by "
        "'art', not looked at: lage, label) (dataset.image_column=was hier, dataset.label_column="
        "art)"
    )


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columns_of_tables_are_named(tmp_path, kind, capsys):
    source = write_table(tmp_path / f"in/a.{kind}", kind)
    with pytest.raises(UserError, match="may be depth or was hier. Set dataset.image_column, or "):
        converted(source)
    manifest = converted(source, IMAGE, LABEL)
    assert without_splits(read_out(source)) == EXPECTED and manifest.label_names == CLASSES
    name = {"parquet": "Parquet", "arrow": "Arrow"}[kind]
    assert (
        f"Layout of {source}: {name}, 1 file (pictures by 'was hier', classes by 'art', not looked "
        "at: depth, label, box) (dataset.image_column=was hier, dataset.label_column=art)\n"
    ) in capsys.readouterr().err


def test_one_is_named_and_the_other_found(tmp_path):
    source = write_table(tmp_path / "a.parquet")
    assert (
        "by 'was hier', classes by 'label', not"
        in layout_of(source, columns=ColumnNames(image="was hier")).form
    )
    root = tmp_path / "in"
    rows = "".join(f"{name},{CLASSES[one.label]},0\n" for name, one in pictures_in(root))
    (root / "list.csv").write_text(f"label,image,id\n{rows}")  # the names are at the wrong columns
    with pytest.raises(UserError, match="none is known to hold the classes. Set dataset.label_c"):
        layout_of(root / "list.csv", columns=ColumnNames(image="label"))
    named = layout_of(root / "list.csv", columns=ColumnNames("label", "image"))
    assert "3 classes (pictures by 'label', classes by 'image', not looked at: id)" in named.form


def test_another_column_converts_again_and_is_in_the_manifest(tmp_path):
    source = write_table(tmp_path / "in/a.parquet")
    out = source.parent / "out"
    first = converted(source, IMAGE, LABEL)
    assert (first.settings.image_column, first.settings.label_column) == ("was hier", "art")
    assert load_manifest(out) == first
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert converted(source, IMAGE, LABEL) == first
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == times
    second = converted(source, IMAGE)
    assert second.label_names == ("0", "1") and second.settings.label_column is None
    assert second.fingerprint != first.fingerprint  # which the run's cache goes by


def test_a_manifest_of_before_is_still_up_to_date(tmp_path):
    root = tmp_path / "in"
    rows = "".join(f"{name},{CLASSES[one.label]}\n" for name, one in pictures_in(root))
    (root / "list.csv").write_text(f"image,label\n{rows}")
    converted(root)
    path = root.parent / "out/manifest.json"
    content = json.loads(path.read_text())
    del content["settings"]["image_column"], content["settings"]["label_column"]
    path.write_text(json.dumps(content))
    converted(root)
    assert json.loads(path.read_text()) == content  # nothing was written again


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "arrow"])
def test_an_unknown_name_is_one_line_with_the_columns_that_exist(tmp_path, form):
    is_table = form in ("parquet", "arrow")
    if is_table:
        source, shown = (
            write_table(tmp_path / f"a.{form}", form),
            "depth, was hier, label, art, box",
        )
    else:
        source, shown = write_list(tmp_path / "in", form), "lage, was hier, art, label, split"
    with pytest.raises(UserError) as error:
        converted(source, IMAGE, "dataset.label_column=Art")
    assert str(error.value) == (
        f"{source} has no column 'Art', but {shown}. Set dataset.label_column to one of them, or "
        "to null to have it found."
    )


def test_a_folder_says_why_its_lists_are_not_used(tmp_path):
    root = tmp_path / "in"
    write_list(root, "csv")
    (root / "test.csv").write_text("was hier;lage\n1.png;x\n")
    assert "not used" not in layout_of(root, columns=NAMED).line
    assert layout_of(root, columns=NAMED).notes == (
        "not looked at, beside the list: test.csv (no column 'art', but was hier, lage)",
    )
    with pytest.raises(UserError, match=r"list.csv \(no column 'Art', but lage, was hier, art, l"):
        layout_of(root, columns=NAMED._replace(label="Art"))
    with pytest.raises(UserError, match=r"list.csv \(no column 'Art', but lage, was hier, art, l"):
        layout_of(root, "list", columns=NAMED._replace(label="Art"))


def test_columns_that_hold_something_else(tmp_path):
    source = write_table(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="'label' of .* holds int64, not the bytes of pictures. S"):
        layout_of(source, columns=ColumnNames("label", "art"))
    with pytest.raises(UserError, match="'box' of .* holds list<.*>, not a class in each row. Set"):
        layout_of(source, columns=ColumnNames("was hier", "box"))
    (tmp_path / "a.csv").write_text("a,b,b\n1.png,x,y\n")
    with pytest.raises(UserError, match="has two columns 'b', but a, b, b. Set dataset.label_col"):
        layout_of(tmp_path / "a.csv", columns=ColumnNames("a", "b"))
    with pytest.raises(UserError, match="must be two columns, here both are 'a'"):
        load_config("digits", ["dataset.image_column=a", "dataset.label_column=a"])


def test_what_has_no_columns_refuses_their_names(tmp_path):
    for one in made("train"):
        path = tmp_path / "in" / CLASSES[one.label] / f"{one.number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.png)
    with pytest.raises(UserError) as error:
        converted(tmp_path / "in", LABEL)
    assert str(error.value) == (
        f"dataset.label_column=art cannot be applied to {tmp_path / 'in'}, which is read as class "
        "folders, 3 classes, no splits: columns are those of lists, Parquet and Arrow. Unset it, "
        "or set dataset.layout."
    )
    (tmp_path / "in/a.csv").write_text("path,label\nant/0.png,x\n")
    with pytest.raises(UserError, match=r"Not used there: a.csv \(no column 'art', but path, lab"):
        converted(tmp_path / "in", LABEL)
