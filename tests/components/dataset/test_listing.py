"""Folders and lists as lines: what is listed, what is refused, and what shows a change."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

from helpers.made_pictures import encoded, write_folder
from inception_finetune.components.dataset.bad_examples import STRICT, Policy, Skipped
from inception_finetune.components.dataset.layout import layout_of
from inception_finetune.components.dataset.listing import Listing, read_listed, write_listing
from inception_finetune.components.errors import UserError

SKIP = Policy(on_bad_example="skip")


def listed(source: Path, policy: Policy = STRICT) -> tuple[Listing, list[list], dict[str, str]]:
    """The listing, its lines, and what was left out."""
    skipped, target = Skipped(policy), source.parent / "lines"
    listing = write_listing(layout_of(source), target, skipped)
    return listing, [json.loads(line) for line in target.read_text().splitlines()], skipped.reasons


@pytest.fixture
def pictures(tmp_path) -> list[tuple[str, str]]:
    """Address and class of six pictures."""
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(encoded(number))
    return [(f"{number}.png", ("cat", "dog")[number % 2]) for number in range(6)]


def written(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    (tmp_path / "list.tsv").write_bytes(text.encode(encoding))
    return tmp_path / "list.tsv"


def lines(rows: list[tuple[str, str]], end: str = "\n") -> str:
    return "".join(f"{address}\t{name}{end}" for address, name in rows)


@pytest.mark.parametrize(
    ("change", "encoding"),
    [
        (lambda text: text, "utf-8-sig"),
        (lambda text: text.replace("\n", "\r\n"), "utf-8"),
        (lambda text: text.replace("\n", " \t \n"), "utf-8"),
        (lambda text: text.replace("cat\n", "cat \n", 1), "utf-8"),
        (lambda text: text + "\n \n", "utf-8"),
    ],
)
def test_what_spreadsheets_leave_is_not_seen(tmp_path, pictures, change, encoding):
    listing, rows, _ = listed(written(tmp_path, change(lines(pictures)), encoding))
    assert listing.label_names == ("cat", "dog") and listing.notes == ()
    assert rows == [[f"{i}.png", str(tmp_path / f"{i}.png"), i % 2, ""] for i in range(6)]


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("latin-1", "is not UTF-8 text"),
        ("utf-16", "is not UTF-8 text"),
        ("utf-16-le", "holds NUL"),
    ],
)
def test_other_encodings_are_refused(tmp_path, pictures, encoding, told):
    text = lines(pictures).replace("cat", "caf\xe9" if encoding == "latin-1" else "cat")
    with pytest.raises(UserError, match=f"{told}.*Save it as UTF-8"):
        listed(written(tmp_path, text, encoding))


@pytest.mark.parametrize("header", ["image\tlabel\n", "label\tfile\tsplit\n"])
def test_a_header_with_known_names_says_what_the_columns_are(tmp_path, pictures, header):
    first = header.startswith("label")
    rows = [(name, f"{address}\ttrain") if first else (address, name) for address, name in pictures]
    listing, found, skipped = listed(written(tmp_path, header + lines(rows)))
    assert listing.label_names == ("cat", "dog") and skipped == {}
    split = "train" if first else ""
    assert found == [[f"{i}.png", str(tmp_path / f"{i}.png"), i % 2, split] for i in range(6)]


@pytest.mark.parametrize("header", ["foto\tart\n", "foto\tart\tteil\n"])
def test_another_header_is_a_bad_example_and_no_class(tmp_path, pictures, header):
    source = written(tmp_path, header + lines(pictures))
    with pytest.raises(UserError, match="Example line 1.*is a header"):
        listed(source)
    listing, rows, skipped = listed(source, SKIP)
    assert listing.label_names == ("cat", "dog") and len(rows) == listing.count == 6
    assert list(skipped) == [f"line 1 ({header.strip()!r})"]


def test_splits_are_spelled_as_people_do(tmp_path, pictures):
    splits = ("Train", "train", "Train", "train", "val", "Testing")
    rows = [(address, f"{name}\t{s}") for (address, name), s in zip(pictures, splits, strict=True)]
    listing, found, _ = listed(written(tmp_path, lines(rows)))
    assert [row[3] for row in found] == ["train"] * 4 + ["validation", "test"]
    assert listing.notes == (
        "'Testing' is taken as test (1 line)",
        "'Train' is taken as train (2 lines)",
        "'val' is taken as validation (1 line)",
    )
    with pytest.raises(UserError, match="Line 7.*maybe"):
        listed(written(tmp_path, lines([*rows, ("0.png", "cat\tmaybe")])))


def test_an_address_that_nothing_opens_is_one_bad_example(tmp_path, pictures):
    addresses = ("gone.png", "foo://x/y.png", "http://x.invalid/y.png")
    source = written(tmp_path, lines([*pictures, *((one, "cat") for one in addresses)]))
    found = read_listed(layout_of(source), SKIP)
    assert list(found.skipped) == list(addresses)
    assert all("cannot be read" in r or "it cannot" in r for r in found.skipped.values())
    assert len(found.ids) == 6


def test_a_listed_file_that_changed_changes_the_fingerprint(tmp_path, pictures):
    source = written(tmp_path, lines(pictures))
    before, status = listed(source)[0], (tmp_path / "3.png").stat()
    assert listed(source)[0] == before
    (tmp_path / "3.png").write_bytes(bytes(status.st_size))
    os.utime(tmp_path / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert listed(source)[0].fingerprint != before.fingerprint


def test_a_listed_file_that_is_gone_changes_the_fingerprint(tmp_path, pictures):
    source = written(tmp_path, lines(pictures))
    before = listed(source)[0]
    (tmp_path / "3.png").unlink()
    assert listed(source)[0].fingerprint != before.fingerprint


def test_remote_addresses_are_said_not_to_be_asked(tmp_path, pictures):
    source = written(tmp_path, lines([*pictures, ("s3://bucket/a.png", "cat")]))
    note = "1 of its addresses are remote, and not asked whether they change"
    assert listed(source)[0].notes == (note,)


def test_linked_folders_are_listed_and_broken_links_named(tmp_path):
    source, disk = write_folder(tmp_path / "in"), tmp_path / "disk"
    disk.mkdir()
    for number in range(5):
        (disk / f"{number}.png").write_bytes(encoded(9000 + number))
    (source / "train/cat/from-disk").symlink_to(disk)
    (source / "train/cat/around").symlink_to(source)
    (source / "train/dog/gone.png").symlink_to("nowhere")
    listing, rows, skipped = listed(source, SKIP)
    assert listing.count == len(rows) == 26 + 5
    assert list(skipped) == ["train/cat/around", "train/dog/gone.png"]


def test_a_picture_outside_of_class_folders_is_named(tmp_path):
    source = write_folder(tmp_path / "in")
    for name in ("lost.jpg", "train/lost.PNG", "train/README.txt", "Thumbs.db", "train/._a.png"):
        (source / name).write_bytes(b"")
    assert set(listed(source, SKIP)[2]) == {"lost.jpg", "train/lost.PNG"}
    with pytest.raises(UserError, match="lost.* beside the class folders"):
        listed(source)


def test_empty_folders_are_no_classes_and_said(tmp_path):
    source = write_folder(tmp_path / "in")
    for name in ("train/fox", "test/fox", "train/__MACOSX"):
        (source / name).mkdir()
    (source / "train/fox/.DS_Store").touch()
    listing, _, _ = listed(source)
    assert listing.label_names == ("cat", "dog")
    assert listing.notes == tuple(
        f"{split}/fox is empty, and no class for it" for split in ("train", "test")
    )


def test_names_of_one_class_in_two_unicode_forms(tmp_path):
    source = write_folder(tmp_path / "in")
    for split, form in (("train", "NFC"), ("test", "NFD")):
        (source / split / "cat").rename(source / split / unicodedata.normalize(form, "café"))
    assert listed(source)[0].label_names == ("café", "dog")


def test_classes_that_differ_in_case_alone_are_said(tmp_path, pictures):
    source = written(tmp_path, lines([*pictures, ("0.png", "Cat")]))
    assert listed(source)[0].notes == ("Cat and cat are classes that differ in case alone",)
