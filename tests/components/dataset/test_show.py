"""What is said of a data set is true of it: counts, labels, oddities, and the picture grid."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from helpers.made_archives import made_batch, made_images, made_members, write_archive
from helpers.made_pictures import encoded, good_shards, write_folder, write_records
from inception_finetune.components.dataset import show
from inception_finetune.components.dataset.archive import Archive, read_archive
from inception_finetune.components.dataset.bad_examples import STRICT
from inception_finetune.components.dataset.grid import draw_grid
from inception_finetune.components.dataset.layout import layout_of
from inception_finetune.components.dataset.source import BrowsableSource
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.data_set import read_source


def archive_of(tmp_path: Path, members: dict[str, Any]) -> Archive:
    return read_archive(write_archive(tmp_path / "x.tar.gz", members))


@pytest.fixture
def archive(tmp_path) -> Archive:
    return archive_of(tmp_path, made_members())


def printed(width: int, *calls: Any) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    for function, value in calls:
        function(value, console)
    return console.file.getvalue()


def row(text: str, start: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.strip().startswith(start))


def test_counts_and_first_labels(tmp_path):
    members = made_members()
    members["data_batch_2"] = made_batch(made_images(25, 7), [2] * 20 + [0, 1, 0, 1, 0])
    summary = show.summarize(archive_of(tmp_path, members))
    assert summary.label_names == ("red", "green", "blue")
    assert [(b.name, b.split, b.count, b.label_counts) for b in summary.batches] == [
        ("data_batch_1", "train", 30, (10, 10, 10)),
        ("data_batch_2", "train", 25, (3, 2, 20)),
        ("test_batch", "test", 30, (10, 10, 10)),
    ]
    assert summary.batches[0].first_labels == (0, 1, 2) * 6 + (0, 1)
    assert summary.batches[1].first_labels == (2,) * 20


def test_a_sound_archive_has_no_problems(archive):
    summary = show.summarize(archive)
    assert (summary.duplicates, summary.leaks, summary.blanks) == ((), (), ())
    assert summary.problems == ()


def test_duplicates_leaks_and_blanks_are_found(tmp_path):
    members = made_members()
    first, second, test = (
        members[n]["data"] for n in ("data_batch_1", "data_batch_2", "test_batch")
    )
    second[3] = first[2]  # twice in train
    test[8] = test[7]  # twice in test
    test[0] = first[29]  # in train and in test
    first[11] = np.repeat([10, 20, 30], 16)  # one colour, though three values
    summary = show.summarize(archive_of(tmp_path, members))
    assert summary.duplicates == (
        ("data_batch_1:2", "data_batch_2:3"),
        ("data_batch_1:29", "test_batch:0"),
        ("test_batch:7", "test_batch:8"),
    )
    assert summary.leaks == (("data_batch_1:29", "test_batch:0"),)
    assert summary.blanks == ("data_batch_1:11",)
    assert summary.problems == (
        "1 image stands in train and in test, so test accuracy would be overestimated: "
        "data_batch_1:29 = test_batch:0",
        "2 images occur more than once: "
        "data_batch_1:2 = data_batch_2:3, test_batch:7 = test_batch:8",
        "1 image is of a single colour: data_batch_1:11",
    )


def test_an_image_that_differs_in_one_value_is_no_duplicate(tmp_path):
    members = made_members()
    data = members["data_batch_1"]["data"]
    data[1] = data[0]
    data[1, 0] ^= 1
    assert show.summarize(archive_of(tmp_path, members)).duplicates == ()


def test_many_oddities_are_counted_and_three_are_named(tmp_path):
    members = made_members()
    members["test_batch"]["data"][:6] = np.arange(6, dtype=np.uint8)[:, None]
    (problem,) = show.summarize(archive_of(tmp_path, members)).problems
    assert problem == (
        "6 images are of a single colour: test_batch:0, test_batch:1, test_batch:2 and 3 more"
    )


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([0] * 12 + [1] * 9 + [2] * 9, None),
        (
            [0] * 13 + [1] * 9 + [2] * 8,
            "the classes of test are out of balance: 13 of red, 8 of blue",
        ),
        ([0] * 15 + [1] * 15, "the classes of test are out of balance: 15 of red, 0 of blue"),
    ],
)
def test_imbalance(tmp_path, labels, problem):
    members = made_members()
    members["test_batch"]["labels"] = labels
    problems = show.summarize(archive_of(tmp_path, members)).problems
    assert problems == ((problem,) if problem else ())


def test_chosen_samples(tmp_path):
    members = made_members()
    members["data_batch_2"]["data"][5] = np.linspace(3, 250, 48).astype(np.uint8)
    archive = archive_of(tmp_path, members)
    assert show.describe_samples(archive, [("data_batch_2", 5), ("test_batch", 1)]) == (
        show.Sample("data_batch_2:5", (4, 4, 3), 3, 250, 2, "blue"),
        show.Sample(
            "test_batch:1",
            (4, 4, 3),
            int(made_images(30, 2)[1].min()),
            int(made_images(30, 2)[1].max()),
            1,
            "green",
        ),
    )


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (("data_batch_9", 0), "has data_batch_1, data_batch_2, test_batch"),
        (("test_batch", 30), "test_batch has images 0 to 29, not 30"),
        (("test_batch", -1), "29, not -1"),
    ],
)
def test_a_sample_that_does_not_exist(archive, tmp_path, sample, message):
    with pytest.raises(UserError, match=message):
        show.describe_samples(archive, [sample])
    with pytest.raises(UserError, match=message):
        draw_grid(archive, tmp_path / "grid.png", samples=[sample], seed=0)
    assert not (tmp_path / "grid.png").exists()


@pytest.mark.parametrize("width", [80, 120])
def test_tables_say_it_all_and_fit(tmp_path, width):
    """Five train batches of ten labels, as CIFAR-10 has them."""
    members = made_members(train_batches=5, per_batch=40)
    members["batches.meta"]["label_names"] = [f"[b]name {i}" for i in range(10)]
    for batch in list(members.values())[1:]:
        batch["labels"] = [i % 10 for i in range(40)]
    archive = archive_of(tmp_path, members)
    samples = show.describe_samples(archive, [("data_batch_3", 4)])
    text = printed(
        width, (show.print_summary, show.summarize(archive)), (show.print_samples, samples)
    )
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    first = ("0 1 2 3 4 5 6 7 8 9 " * 2).split()
    assert row(text, "data_batch_4") == ["data_batch_4", "train", "40", *first]
    assert row(text, "test_batch") == ["test_batch", "test", "40", *first]
    assert row(text, "7 [b]name") == ["7", "[b]name", "7", *["4"] * 6, "24"]
    sample = row(text, "data_batch_3:4")
    assert sample[:2] == ["data_batch_3:4", "4x4x3"]
    assert sample[-3:] == ["4", "[b]name", "4"]
    assert "No duplicate or blank images, no class imbalance." in text


def test_problems_are_printed(tmp_path):
    members = made_members()
    members["test_batch"]["data"][4] = 0
    text = printed(80, (show.print_summary, show.summarize(archive_of(tmp_path, members))))
    assert "! 1 image is of a single colour: test_batch:4" in text
    assert "No duplicate" not in text


def boxes(picture: np.ndarray, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Left end and width in pixels of each run of this colour in the rows that hold any."""
    mask = (np.abs(picture.astype(int) - colour) <= 2).all(axis=2)
    middle = mask[np.flatnonzero(mask.any(axis=1))]
    line = "".join("x" if x else " " for x in middle[len(middle) // 2])
    return [(m.start(), m.end() - m.start()) for m in re.finditer("x{5,}", line)]


def test_the_grid_has_ten_images_of_each_class_and_the_samples(tmp_path):
    """Each class has a colour of its own, and the sample yet another."""
    colours = [(200, 30, 30), (30, 160, 30), (30, 30, 220)]
    members = made_members(train_batches=1, per_batch=60)
    images = np.array([colours[i % 3] for i in range(60)], np.uint8)[:, None, None]
    images = np.broadcast_to(images, (60, 4, 4, 3))
    members["data_batch_1"] = made_batch(images, [i % 3 for i in range(60)])
    members["test_batch"]["data"][6] = np.repeat([250, 180, 0], 16)
    archive = archive_of(tmp_path, members)
    target = tmp_path / "below" / "grid.png"
    assert draw_grid(archive, target, samples=[("test_batch", 6)], seed=0) == target
    picture = np.asarray(Image.open(target).convert("RGB"))
    for colour in colours:
        found = boxes(picture, colour)
        assert len(found) == 10
        assert max(width for _, width in found) - min(width for _, width in found) <= 3
    assert len(boxes(picture, (250, 180, 0))) == 1
    assert [path.name for path in target.parent.iterdir()] == ["grid.png"]


def test_the_grid_follows_the_seed(archive, tmp_path):
    pictures = [
        draw_grid(archive, tmp_path / f"{name}.png", samples=[], seed=seed).read_bytes()
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert pictures[0] == pictures[1] != pictures[2]


def test_a_grid_that_cannot_be_written(archive, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="Cannot write .*grid.png"):
        draw_grid(archive, tmp_path / "file" / "grid.png", samples=[], seed=0)
    (tmp_path / "grid.png").mkdir()
    with pytest.raises(UserError, match="is not a plain file"):
        draw_grid(archive, tmp_path / "grid.png", samples=[], seed=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "grid.png", "x.tar.gz"]


@pytest.mark.real_data
def test_real_cifar_10(cifar_archive, tmp_path):
    archive = read_archive(cifar_archive)
    summary = show.summarize(archive)
    for batch, summarized in zip(archive.batches, summary.batches, strict=True):
        assert sum(summarized.label_counts) == summarized.count == len(batch.images)
    assert summary.blanks == ()
    text = printed(80, (show.print_summary, summary))
    assert max(map(len, text.splitlines())) <= 80
    draw_grid(archive, tmp_path / "grid.png", samples=[("data_batch_1", 5)], seed=0)
    assert Image.open(tmp_path / "grid.png").size[0] > 1000


def shown(source: Path) -> BrowsableSource:
    return read_source(layout_of(source), STRICT)


def list_of(folder: Path) -> Path:
    """The same pictures as a list without splits."""
    rows = [f"{path}\t{path.parent.name}\n" for path in sorted(folder.glob("*/*/*.png"))]
    (folder.parent / "list.tsv").write_text("".join(rows))
    return folder.parent / "list.tsv"


@pytest.mark.parametrize("kind", ["splits", "classes", "list", "records"])
def test_every_layout_is_counted_and_drawn(tmp_path, kind):
    if kind == "records":
        source = write_records(tmp_path / "in", good_shards())
    else:
        folder = write_folder(tmp_path / "in")
        source = {"splits": folder, "classes": folder / "train", "list": list_of(folder)}[kind]
    loaded = shown(source)
    summary = show.summarize(loaded)
    counts = {batch.name: batch.label_counts for batch in summary.batches}
    assert (
        counts
        == {
            "splits": {"train": (10, 10), "test": (3, 3)},
            "classes": {"all": (10, 10)},
            "list": {"all": (13, 13)},
            "records": {"train": (10, 10), "test": (3, 3)},
        }[kind]
    )
    assert summary.label_names == ("cat", "dog") and summary.problems == ()
    first = summary.batches[0].name
    [sample] = show.describe_samples(loaded, [(first, 0)])
    assert (sample.shape, sample.label_name) == ((8, 8, 3), "cat")
    target = draw_grid(loaded, tmp_path / "grid.png", samples=[(first, 0)], seed=0)
    assert Image.open(target).size[0] > 1000


def test_oddities_of_a_folder_are_found_by_the_names_of_its_files(tmp_path):
    source = write_folder(tmp_path / "in")
    (source / "test/cat/copy.png").write_bytes((source / "train/dog/4.png").read_bytes())
    Image.new("RGB", (30, 300), "red").save(source / "train/cat/red.png")
    summary = show.summarize(shown(source))
    assert summary.leaks == (("train/dog/4.png", "test/cat/copy.png"),)
    assert summary.blanks == ("train/cat/red.png",)


def test_many_classes_are_counted_and_fifty_shown(tmp_path):
    for number in range(53):
        path = tmp_path / f"in/class {number:02}/0.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(number, side=120))
    loaded = shown(tmp_path / "in")
    text = printed(80, (show.print_summary, show.summarize(loaded)))
    assert "49 class 49" in text and "50 class 50" not in text and "and 3 more labels" in text
    picture = Image.open(draw_grid(loaded, tmp_path / "grid.png", samples=[], seed=0))
    assert picture.size[1] < 50 * 0.75 * 150 * 1.2


def test_a_class_with_dollars_is_no_formula(tmp_path):
    source = write_folder(tmp_path / "in")
    for split in ("train", "test"):
        (source / split / "cat").rename(source / split / r"$\frac{$")
    loaded = shown(source)
    target = draw_grid(loaded, tmp_path / "grid.png", samples=[("train", 0)], seed=0)
    assert Image.open(target).size[0] > 1000
