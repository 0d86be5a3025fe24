"""The command line: what succeeds prints its result, what fails prints one line and the mend."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from helpers.loopback import answering
from helpers.made_archives import made_members, write_archive
from helpers.made_pictures import good_shards, record, write_folder, write_records
from helpers.paths import REPOSITORY
from inception_finetune.components.io import download as download_module

ERROR = "error: "


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def run(run_command):
    return run_command


def in_a_process(*arguments: Any, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "inception_finetune", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")} | environment,
    )
    return done.returncode, done.stdout, done.stderr


def assert_one_line(result: tuple[int, str, str], *parts: str) -> None:
    """Status 1, nothing on stdout, and on stderr one line that holds all `parts`."""
    status, out, err = result
    assert (status, out) == (1, "")
    assert err.startswith(ERROR)
    assert err.count("\n") == 1
    assert "Traceback" not in err
    for part in parts:
        assert part in err


def test_names_in_an_error_forge_no_line(run, tmp_path):
    shards = good_shards()
    identity = b"\x1b[2J\x1b]0;pwned\x07evil\nerror: [red]fake[/]"
    shards["train-00000-of-00001.tfrecord"][3] = record(IMAGE_ENCODED=b"", IMAGE_ID=identity)
    source = write_records(tmp_path / "in", shards)
    result = run("data", "convert", tmp_path / "out", f"dataset.archive={source}")
    assert_one_line(result, r"Example \x1b[2J\x1b]0;pwned\x07evil\nerror: [red]fake[/] in")
    assert "\x1b" not in result[2]


def test_notes_on_what_is_left_out_forge_no_line(run, tmp_path):
    shards = good_shards()
    shards["train-00000-of-00001.tfrecord"].append(
        record(IMAGE_ENCODED=b"none", LABEL=0, IMAGE_ID=b"a\x1b[2J\nb")
    )
    source = write_records(tmp_path / "in", shards)
    arguments = (f"dataset.archive={source}", "dataset.on_bad_example=skip")
    fraction = "dataset.validation_fraction=0.2"
    status, _, err = run("data", "convert", tmp_path / "out", *arguments, fraction)
    assert status == 0 and r"a\x1b[2J\nb (it is not a whole" in err and "\x1b" not in err


def everything_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.fixture
def server() -> Iterator[str]:
    """An address that offers 1,000 bytes and breaks off after 300, and knows no ranges."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:  # noqa: N802
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(bytes(300))

    with answering(Handler) as http:
        yield f"{http.address}/pictures.tar.gz"


@pytest.fixture
def archive(tmp_path) -> Path:
    return write_archive(tmp_path / "made.tar.gz", made_members())


def test_fetch_prints_the_place_of_the_archive(run, tmp_path):
    status, out, err = run("data", "fetch", "--config", "digits", "cache=here")
    assert (status, out, err) == (0, f"{tmp_path}/here/archives/digits.tar.gz\n", "")
    assert everything_below(tmp_path) == ["here", "here/archives", "here/archives/digits.tar.gz"]


def test_fetch_verifies_a_local_archive(run, archive):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    status, out, _ = run("data", "fetch", f"dataset.archive={archive}", f"dataset.sha256={digest}")
    assert (status, out) == (0, f"{archive}\n")
    wrong = run("data", "fetch", f"dataset.archive={archive}", f"dataset.sha256={'f' * 64}")
    assert_one_line(wrong, f"{archive} has sha256 {digest}, expected fff", "Fetch it again")


def test_show_prints_tables_and_draws_the_pictures(run, tmp_path):
    status, out, err = run("data", "show", "cache=here", "--sample", "test_batch:7")
    archive = tmp_path / "here/archives/digits.tar.gz"
    assert (status, err) == (0, f"Layout of {archive}: CIFAR-10's batches\n")
    assert "test_batch" in out
    assert "3 three" in out
    assert "test_batch:7" in out
    assert "pictures: build/samples.png" in out
    assert (tmp_path / "build" / "samples.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_convert_twice(run, archive, tmp_path):
    arguments = ("data", "convert", "out", f"dataset.archive={archive}")
    status, out, err = run(*arguments)
    assert (status, out) == (0, "out: 54 train, 6 validation, 30 test\n")
    assert err.startswith("Converting: 90 images in ")
    before = (tmp_path / "out").stat().st_ino
    assert run(*arguments) == (0, out, f"Layout of {archive}: CIFAR-10's batches\n")
    assert (tmp_path / "out").stat().st_ino == before


def test_a_layout_that_does_not_fit_says_what_is_missing(run, archive, tmp_path):
    for layout, needed in (("parquet", "*.parquet files"), ("pictures", "class folders")):
        result = run(
            "data", "convert", "out", f"dataset.archive={archive}", f"dataset.layout={layout}"
        )
        told = f"dataset.layout={layout} does not fit {archive}, which is a file of another kind"
        assert_one_line(result, told, f"it needs {needed}. Give another layout, or auto.")
    result = run("config", "dataset.layout=kaggle")
    assert_one_line(result, "dataset.layout: Input should be 'auto', 'cifar', 'pictures', 'list'")


def test_config_prints_what_a_run_would_use(run):
    status, out, _ = run("config", "--config", "digits", "training.epochs=3")
    assert status == 0
    assert "archive: digits" in out
    assert "epochs: 3" in out


def test_a_bad_archive(run, tmp_path):
    (tmp_path / "bad.tar.gz").write_bytes(b"<html>404</html>")
    for command in (["show"], ["convert", "out"]):
        assert_one_line(
            run("data", *command, "dataset.archive=bad.tar.gz"),
            "Cannot unpack bad.tar.gz",
            "Fetch it again",
        )
    assert everything_below(tmp_path) == ["bad.tar.gz"]


def test_a_truncated_archive_in_a_process_of_its_own(archive, tmp_path):
    archive.write_bytes(archive.read_bytes()[:-1000])
    assert_one_line(
        in_a_process("data", "convert", "out", f"dataset.archive={archive}"),
        f"Cannot unpack {archive}",
        "damaged or incomplete. Fetch it again",
    )
    assert everything_below(tmp_path) == ["made.tar.gz"]


def test_no_archive(run, tmp_path):
    assert_one_line(run("data", "show", "dataset.archive=gone"), "No such file: gone", "Check the")
    assert everything_below(tmp_path) == []


def test_a_hostile_archive(run, tmp_path):
    members = made_members() | {"data_batch_1": b"cos\nsystem\n(S'touch CALLED'\ntR."}
    path = write_archive(tmp_path / "x.tar.gz", members)
    assert_one_line(
        run("data", "convert", "out", f"dataset.archive={path}"),
        f"data_batch_1 in {path} is refused: it refers to 'os.system'",
        "from its publisher",
    )
    assert everything_below(tmp_path) == ["x.tar.gz"]


@pytest.mark.parametrize("command", [["show"], ["convert", "out"]])
def test_a_wrong_label(run, tmp_path, command):
    members = made_members()
    members["data_batch_2"]["labels"][4] = 17
    path = write_archive(tmp_path / "x.tar.gz", members)
    assert_one_line(
        run("data", *command, f"dataset.archive={path}"),
        "label 17 is not a whole number in [0, 3)",
        f"Example data_batch_2:4 in data_batch_2 in {path}: ",
    )
    assert everything_below(tmp_path) == ["x.tar.gz"]


def test_a_truncated_download(run, server, tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "FIRST_WAIT", 0.001)
    status, out, err = run("data", "convert", "out", f"dataset.archive={server}", "cache=here")
    *tried, told = err.splitlines(keepends=True)
    assert ["trying again in" in line for line in tried] == [True] * 4
    assert_one_line(
        (status, out, told),
        f"Cannot download {server} in 5 attempts",
        "broke after 300 bytes",
        "run the command again",
    )
    (part,) = (tmp_path / "here" / "archives").iterdir()
    assert part.name.endswith("pictures.tar.gz.part")
    assert not (tmp_path / "out").exists()


def test_an_unknown_key_in_a_process_of_its_own(tmp_path):
    assert_one_line(
        in_a_process("run", "training.epoch=3"),
        "unknown key training.epoch; did you mean epochs?",
    )
    assert everything_below(tmp_path) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.archives=x", "unknown key dataset.archives; did you mean archive?"),
        ("dataset.validation_fraction=2", "dataset.validation_fraction: "),
        ("dataset.seed=one", "dataset.seed: "),
        ("nonsense", "Override 'nonsense' on the command line is not key=value"),
    ],
)
@pytest.mark.parametrize("command", [["config"], ["data", "show"], ["data", "fetch"], ["run"]])
def test_a_wrong_setting(run, tmp_path, command, override, message):
    assert_one_line(run(*command, override), message)
    assert everything_below(tmp_path) == []


def test_a_negative_seed(run, archive, tmp_path):
    result = run("data", "convert", "out", f"dataset.archive={archive}", "dataset.seed=-1")
    assert_one_line(result, "seed", "-1")
    assert everything_below(tmp_path) == ["made.tar.gz"]


@pytest.mark.parametrize(
    "command", [["config"], ["data", "fetch", "--config", "digits", "cache=here"]]
)
def test_a_full_disk_under_the_output(command):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "inception_finetune", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")},
        )
    assert_one_line((done.returncode, "", done.stderr), "No space left on device")


def test_no_such_config(run):
    assert_one_line(run("run", "--config", "none.yaml"), "digits", "'none.yaml'")


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("7", "--sample '7' names no picture. Give BATCH:INDEX, such as data_batch_1:5"),
        ("test_batch:x", "--sample 'test_batch:x' names no picture"),
        ("test_batch:30", "test_batch has images 0 to 29, not 30"),
        ("batch:0", "No batch 'batch' in this archive"),
    ],
)
def test_a_wrong_sample(run, archive, tmp_path, sample, message):
    status, out, err = run("data", "show", f"dataset.archive={archive}", "--sample", sample)
    err = err.removeprefix(f"Layout of {archive}: CIFAR-10's batches\n")
    assert_one_line((status, out, err), message)
    assert everything_below(tmp_path) == ["made.tar.gz"]


def test_a_bad_picture_is_one_line_without_beams_traceback(tmp_path):
    source = write_folder(tmp_path / "in")
    (source / "train/cat/0.png").write_text("no picture")
    status, out, err = in_a_process(
        "data", "convert", tmp_path / "out", f"dataset.archive={source}"
    )
    # libjpeg says on its own that it is none.
    result = (status, out, err.removeprefix("Not a JPEG file: starts with 0x6e 0x6f\n"))
    assert_one_line(result, "Example train/cat/0.png in", "dataset.on_bad_example=skip")
    assert "while running" not in err


def test_convert_never_replaces_files_of_others(run, archive, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.odt").write_text("mine")
    result = run("data", "convert", "out", f"dataset.archive={archive}")
    assert_one_line(result, "holds thesis.odt, which no conversion wrote", "another directory")
    assert everything_below(tmp_path) == ["made.tar.gz", "out", "out/thesis.odt"]


def test_brackets_in_a_message_are_no_markup(run):
    assert_one_line(run("data", "show", "dataset.archive=[bold]x[/bold]"), "[bold]x[/bold]")


def test_a_missing_module(tmp_path):
    assert_one_line(in_a_process("backbone", "check", "gone", "cache=here"), "gone")
    assert everything_below(tmp_path) in ([], ["here"], ["here", "here/backbones"])


HEAVY = "tensorflow tfx tf_keras apache_beam matplotlib sklearn pandas scipy requests numpy yaml"


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from inception_finetune.pipeline.cli.main import main\n"
        "sys.argv = ['inception-finetune', 'data', 'convert', '--help']\n"
        "try: main()\n"
        f"finally: print(*sorted(set({HEAVY!r}.split()) & set(sys.modules)), file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0
    assert "Folder that the TFRecord shards go to." in done.stdout
    assert done.stderr == "\n"


def test_show_imports_no_tensorflow():
    code = (
        "import sys; from inception_finetune.pipeline.cli.main import main\n"
        "sys.argv = ['inception-finetune', 'data', 'show', 'dataset.archive=gone']\n"
        "try: main()\n"
        "finally: print('tensorflow' in sys.modules, 'tfx' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stdout) == (1, "False False\n")
