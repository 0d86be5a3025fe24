"""Forgotten spans are never read again, and what is known of them is never guessed."""

import json
import shutil

import pytest

from helpers.colour_pictures import write_colours
from inception_finetune.components.dataset.manifest import load_manifest
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import MARKER
from inception_finetune.pipeline import data_set
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.forgotten_spans import (
    FILE,
    ForgottenSpans,
    read_forgotten,
    write_forgotten,
)
from inception_finetune.pipeline.history.forget import forget
from inception_finetune.pipeline.locks import pipeline_lock


@pytest.fixture
def root(tmp_path):
    """Three days of pictures, which were converted, and never trained on."""
    write_colours(tmp_path / "golden", 9, 4, "cat", "dog")
    for day in (1, 2, 3):
        write_colours(tmp_path / f"pictures/{day}-1", day, 12, "cat", "dog")
    convert(tmp_path)
    return tmp_path / "root"


def config_of(place, *overrides: str):
    return load_config(
        "scratch_cnn",
        [
            *(f"root={place}/root", f"cache={place}/cache", f"dataset.golden={place}/golden"),
            f"dataset.spans={place}/pictures/{{SPAN}}-{{VERSION}}",
            *overrides,
        ],
    )


def convert(place, *overrides: str) -> None:
    data_set.convert_dataset(config_of(place, *overrides), place / "root/records")


def test_a_span_goes_where_nothing_was_ever_trained(root, capfd):
    assert load_manifest(root / "records").spans.keys() == {
        "1 (version 1)", "2 (version 1)", "3 (version 1)"
    }  # fmt: skip
    # What killed commands leave, and what people have put there.
    for name in ("artifacts/ImportExampleGen/examples/7", "spans/.2-version-1-abcd1234"):
        (root / name).mkdir(parents=True)
        (root / name / "left").write_bytes(bytes(100))
    (root / "spans/.2-version-1-abcd1234" / MARKER).touch()
    (root / "mine").mkdir()
    (root / "mine/notes").write_text("2/cat/1.png")
    done = forget(config_of(root.parent), ["2"])
    assert done.removed == {
        "stored spans": 1, "converted records": 1, "checkpoints and unfinished work": 2
    }  # fmt: skip
    assert (done.models, done.suggestions) == ((), 0)
    assert {path.name for path in (root / "spans").iterdir()} == {
        "1-version-1", "3-version-1", "golden"
    }  # fmt: skip
    assert not (root / "records").exists() and (root / "mine/notes").is_file()
    assert not (root / "artifacts/ImportExampleGen/examples/7").exists()

    write_colours(root.parent / "pictures/2-2", 22, 5, "cat", "dog")  # of late data neither
    capfd.readouterr()
    convert(root.parent, "dataset.window=2")
    said = capfd.readouterr().err
    assert "window of 2 of 2 spans, 1 (version 1) to 3 (version 1), 48 pictures" in said
    assert "forgotten, and not read: 2; their files are yours to delete" in said
    again = forget(config_of(root.parent), ["2"])
    assert (again.files, again.removed) == (0, {})
    assert forget(config_of(root.parent), ["1"]).sources == (root.parent / "pictures/1-1",)


def test_what_people_wrote_about_other_pictures_stays_in_the_table(root):
    table = root / "data-check/corrections.csv"
    table.parent.mkdir()
    table.write_text(
        "id,split,label,suggested,reason,correction\r\n"
        "2/cat/1.png,train,cat,remove,copy,remove\r\n"
        "1/cat/1.png,train,cat,remove,shows the same as 2/cat/1.png of test,dog\r\n"
        "1/cat/2.png,train,cat,remove,shows the same as 12/cat/2.png of test,\r\n"
        "1/cat/3.png,train,cat,remove,shows the same as 3/2/3.png of test,\r\n",
        newline="",
    )
    page = root / "robustness/robustness.html"
    page.parent.mkdir()
    page.write_text("<p>2/cat/1.png, which is a cat</p>")
    (root / "near-duplicates.json").write_text('{"key": "k", "copies": {"2/cat/1.png": "g"}}')
    (root / "data-check/findings.json").write_text('["3/cat/1.png"]')
    done = forget(config_of(root.parent), ["2"])
    assert done.suggestions == 1
    assert table.read_bytes().decode() == (
        "id,split,label,suggested,reason,correction\r\n1/cat/1.png,train,cat,remove,,dog\r\n"
        "1/cat/2.png,train,cat,remove,shows the same as 12/cat/2.png of test,\r\n"
        "1/cat/3.png,train,cat,remove,shows the same as 3/2/3.png of test,\r\n"
    )
    assert done.removed["pages"] == 2 and not page.exists()
    assert (root / "data-check/findings.json").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("4", "Span '4' is none that .* has read or dataset.spans matches: 1, 2, 3. Give one"),
        ("golden", "Span 'golden' is none"),
        ("2-1", "Span '2-1' is none"),
    ],
)
def test_a_name_that_is_none_removes_nothing(root, name, said):
    with pytest.raises(UserError, match=said):
        forget(config_of(root.parent), ["2", name])
    assert (root / "spans/2-version-1").is_dir() and not (root / FILE).exists()


def test_a_span_whose_source_is_gone_is_known_by_what_is_stored(root):
    shutil.rmtree(root.parent / "pictures/2-1")
    done = forget(config_of(root.parent), ["2"])
    assert done.sources == () and done.removed["stored spans"] == 1


def test_what_lies_behind_a_link_is_not_removed_and_not_called_forgotten(root, tmp_path):
    (root / "records").rename(tmp_path / "disk")
    (root / "records").symlink_to(tmp_path / "disk")
    with pytest.raises(UserError, match="Spans 2 in .* are not wholly forgotten: .*records is a "):
        forget(config_of(root.parent), ["2"])
    assert (tmp_path / "disk/manifest.json").is_file()
    with pytest.raises(UserError, match=r"Run `inception-finetune data forget 2`"):
        convert(root.parent)
    (root / "records").unlink()
    forget(config_of(root.parent), ["1"])  # the interrupted one is finished with it
    assert read_forgotten(root).unfinished == []
    assert json.loads((root / FILE).read_text())["spans"].keys() == {"1", "2"}


def test_no_other_command_reads_spans_while_one_forgets(root, run_command):
    """A span that was found before it is forgotten would be stored once more after it."""
    source = f"dataset.spans={root.parent}/pictures/{{SPAN}}-{{VERSION}}"
    golden = f"dataset.golden={root.parent}/golden"
    shutil.rmtree(root / "spans")
    with pipeline_lock(root):
        status, _, said = run_command(
            *("data", "convert", root.parent / "out", "-c", "scratch_cnn"),
            *(f"root={root}", source, golden),
        )
    assert status == 1 and "is in use by process" in said
    assert not (root / "spans").exists() and not (root.parent / "out").exists()


def test_a_damaged_list_stops_a_run_instead_of_reading_them_again(root):
    write_forgotten(root, ForgottenSpans(spans={"2": "2026-11-28T12:00:00+00:00"}))
    (root / FILE).write_text((root / FILE).read_text()[:-3])
    with pytest.raises(UserError, match="cannot be read, and none of them may be read again"):
        convert(root.parent)


def test_without_spans_or_root_it_is_refused_in_a_line(tmp_path):
    with pytest.raises(UserError, match="digits has no dataset.spans"):
        forget(load_config("digits", [f"root={tmp_path}"]), ["2"])
    with pytest.raises(UserError, match="No .*/root: nothing was ever read there"):
        forget(config_of(tmp_path), ["2"])
    assert not (tmp_path / "root").exists()
