"""Lists as competitions and spreadsheets give them: columns by name, folders beside the list."""

import json
from pathlib import Path

import pytest

from helpers.made_layouts import CLASSES, Made, converted, expected, made, read_out, without_splits
from inception_finetune.components.dataset.bad_examples import Policy, Skipped
from inception_finetune.components.dataset.layout import layout_of
from inception_finetune.components.dataset.listing import write_listing
from inception_finetune.components.errors import UserError


def folder_of(root: Path, where: str = "train/{:03d}.png") -> list[tuple[str, Made]]:
    """Writes the train pictures, and returns their names without folder."""
    names = []
    for one in made("train"):
        path = root / where.format(one.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.png)
        names.append((path.name, one))
    return names


def listed(source: Path, wanted="auto") -> list[tuple[str, str, str]]:
    """Id, class and split of each line; every address is that of the picture of this class."""
    layout, target = layout_of(source, wanted), source.parent / "lines"
    listing = write_listing(layout, target, Skipped(Policy()))
    pictures = {one.png: one.label for one in made()}
    found = []
    for line in target.read_text().splitlines():
        identity, address, label, split = json.loads(line)
        assert CLASSES[pictures[Path(address).read_bytes()]] == listing.label_names[label]
        found.append((identity, listing.label_names[label], split))
    return found


def test_a_competitions_folder(tmp_path):
    root = tmp_path / "dog-breeds"
    names = folder_of(root)
    (root / "test").mkdir()
    (root / "test/x.png").write_bytes(b"without a class")
    rows = "".join(f"{name[:-4]},{CLASSES[one.label]},{one.number}\n" for name, one in names)
    (root / "train.csv").write_text(f"id,breed,age\n{rows}")
    (root / "test.csv").write_text("id\nx\n")
    (root / "sample_submission.csv").write_text("id,breed\nx,ant\n")
    (root / "README.txt").write_text("Competition\n\nrules\tand more\n")
    layout = layout_of(root)
    assert layout.line == (
        f"Layout of {root}: list train.csv beside train/, 3 classes (pictures by 'id', classes by "
        "'breed', not looked at: age)"
    )
    assert layout.notes == (
        "no list of test: dataset.test_fraction of each class of train becomes test",
        "not looked at, beside the list: README.txt (no list of pictures), "
        "sample_submission.csv (a form for answers), test.csv (without classes), folder test",
    )
    manifest = converted(root)
    assert manifest.label_names == CLASSES
    assert without_splits(read_out(root)) == without_splits(expected("train"))
    assert {split: count for split, count in manifest.counts.items() if count} == {
        "train": 6,
        "validation": 3,
        "test": 3,
    }


@pytest.mark.parametrize(
    ("where", "head", "line"),
    [
        ("{:03d}.png", "", "{stem},{label}"),
        ("{:03d}.png", "filename;class\n", "{name};{label}"),
        ("{:03d}.PNG", "Image_ID|Target\n", "{stem}|{label}"),
        ("images/{:03d}.png", "label\timage path\n", "{label}\timages/{name}"),
        ("images/{:03d}.png", "label,path\n", "{label},images\\{name}"),
        ("train_images/{:03d}.png", "id,healthy,rust,scab\n", "{stem},{hot}"),
        ("a/b/{:03d}.png", '"file name","species","note"\n', '"{name}","{label}","a, ""b"""'),
    ],
    ids=["no header", "semicolons", "upper case", "tabs", "backslash", "one-hot", "quotes"],
)
def test_columns_delimiters_and_folders_are_found(tmp_path, where, head, line):
    root = tmp_path / "in"
    hot = ("1,0,0", "0,1,0", "0,0,1.0")
    text = head + "".join(
        line.format(name=name, stem=name[:-4], label=CLASSES[one.label], hot=hot[one.label]) + "\n"
        for name, one in folder_of(root, where)
    )
    (root / "list.csv").write_text(text, "utf-8-sig")
    layout = layout_of(root, "list")
    assert (layout.kind, layout.parts) == ("list", (("", root / "list.csv"),))
    names = CLASSES if "healthy" not in head else ("healthy", "rust", "scab")
    target = tmp_path / "lines"
    listing = write_listing(layout, target, Skipped(Policy()))
    assert listing.label_names == names and listing.count == 12
    rows = [json.loads(row) for row in target.read_text().splitlines()]
    by_content = {one.png: one for one in made("train")}
    assert [by_content[Path(row[1]).read_bytes()].label for row in rows] == [row[2] for row in rows]
    # The same list by itself.
    assert layout_of(root / "list.csv").kind == "list"
    if names == CLASSES:
        assert listed(root / "list.csv") == listed(root, "list")


def test_json_lines_and_splits_by_the_lists_names(tmp_path):
    root = tmp_path / "in"
    for split in ("train", "test"):
        (root / "images").mkdir(parents=True, exist_ok=True)
        lines = []
        for one in made(split):
            name = f"{split}{one.number}.png"
            (root / "images" / name).write_bytes(one.png)
            lines.append(json.dumps({"file_name": name, "label": CLASSES[one.label], "x": [1]}))
        (root / f"{'val' if split == 'test' else split}.jsonl").write_text("\n".join(lines))
    (root / "val.jsonl").rename(root / "Testing.jsonl")
    layout = layout_of(root)
    assert [split for split, _ in layout.parts] == ["train", "test"]
    assert "'Testing' is taken as test (1 file)" in layout.notes
    converted(root)
    assert read_out(root) == expected()


def test_lists_that_agree_with_class_folders_are_left_alone_and_others_refused(tmp_path):
    root = tmp_path / "in"
    for one in made("train"):
        path = root / CLASSES[one.label] / f"{one.number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.png)
    rows = [f"{CLASSES[one.label]}/{one.number}.png,{CLASSES[one.label]}" for one in made("train")]
    (root / "all.csv").write_text("\n".join(["path,label", *rows]))
    layout = layout_of(root)
    assert (layout.kind, layout.form) == ("pictures", "class folders, 3 classes, no splits")
    assert layout_of(root, "list").line.endswith("(dataset.layout=list)")
    (root / "all.csv").write_text("\n".join(["path,label", rows[0][:-3] + "bee", *rows[1:]]))
    with pytest.raises(UserError, match="contradicts them: 'bee' lies in the folder 'ant'. Set d"):
        layout_of(root)
    assert layout_of(root, "pictures").kind == "pictures"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a.csv": "x,y,z,w\n1,2,3,4\n"}, "none of its pictures is here|no list"),
        (
            {"a.csv": "id,label\n000,a\n", "b.csv": "id,label\n000,b\n"},
            "holds several lists: a.csv, b",
        ),
        ({"train.csv": "id,age,size\n000,1,2\n"}, r"train.csv \(without classes\)"),
    ],
)
def test_folders_whose_lists_cannot_be_used_say_why(tmp_path, files, told):
    folder_of(tmp_path / "in")
    for name, text in files.items():
        (tmp_path / "in" / name).write_text(text)
    with pytest.raises(UserError, match=told):
        layout_of(tmp_path / "in", "list")
    if len(files) == 1:
        with pytest.raises(UserError, match="fewer than two class folders, and no list.*" + told):
            layout_of(tmp_path / "in")
    (tmp_path / "in/test").mkdir()
    (tmp_path / "in/test/x.png").touch()
    with pytest.raises(UserError, match=told):
        layout_of(tmp_path / "in")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "a.csv",
            "id,age,size\n1,2,3\n",
            "none is known to hold the classes. Set dataset.label_column",
        ),
        ("a.csv", "x,y,z,w\n1,2,3,4\n", "Begin it with a line that calls it filename"),
        ("a.jsonl", '{"image": "a"}\n[1]\n', "Line 2 of list .* is no JSON object"),
        ("a.jsonl", '{"x": 1, "label": 2, "z": 3}\n', "none is known to name the pictures"),
        ("a.csv", "id,label\n1," + "x" * 200_000, "has 131,072 characters or more"),
        ("a.csv", b"id,label\n\xff\xfe,cat\n", "is not UTF-8 text"),
        ("a.csv", b"id,label\n\0,cat\n", "line 2 holds NUL"),
    ],
)
def test_lists_that_cannot_be_read_are_one_line(tmp_path, name, text, told):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=told) as error:
        layout_of(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_line_without_a_class_or_picture_is_a_bad_example(tmp_path):
    folder_of(tmp_path, "{:03d}.png")
    rows = ["id,label", "000,ant", "001,bee", "002,", ",ant", "003,ant", "004,bee"]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    skipped = Skipped(Policy(on_bad_example="skip"))
    listing = write_listing(layout_of(tmp_path / "a.csv"), tmp_path / "lines", skipped)
    assert listing.count == 4
    assert skipped.reasons == {
        "line 4 of a.csv": "it has no class",
        "line 5 of a.csv": "it has no picture",
    }
