"""Whole pictures, tars and modules with a few bytes changed: each is taken or refused in one line.

MUTATED says how many modules; pictures are ten times, tars seventeen times as many.
"""

import io
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from recorder import Recorder

from helpers.mutated import mutate, mutated_pictures
from inception_finetune.components.errors import UserError

MODULES = int(os.environ.get("MUTATED", "60"))
PICTURES, TARS = 10 * MODULES, 17 * MODULES
BATCH = 200  # pictures at once
LONGEST = 20.0  # seconds for a batch of pictures or for a tar
LONGEST_LOAD = 120.0  # seconds for a module
GROWTH = 200  # MB that a process may grow by once it has seen a tenth of the inputs

pytestmark = pytest.mark.faults


def megabytes() -> float:
    return psutil.Process().memory_info().rss / 1e6


class Watched:
    """Raises AssertionError where a step takes long, or memory grows from step to step."""

    def __init__(self, steps: int) -> None:
        self._warm = max(1, steps // 10)
        self._number = 0
        self._base = 0.0
        self.slowest = 0.0

    def steps(self, inputs: Iterator) -> Iterator:
        for one in inputs:
            began = time.monotonic()
            yield one
            self.slowest = max(self.slowest, time.monotonic() - began)
            self._number += 1
            if self._number == self._warm:
                self._base = megabytes()
        assert self.slowest < LONGEST
        assert megabytes() - self._base < GROWTH


def test_pictures(recorder: Recorder):
    from helpers.one_verdict import one_verdict

    batches = -(-PICTURES // BATCH)
    watched = Watched(batches)
    whole = 0
    for seed in watched.steps(iter(range(batches))):
        whole += int(one_verdict(mutated_pictures(BATCH, seed)).sum())
    tried = batches * BATCH
    assert tried // 10 < whole < tried  # the changes are small ones, and they do harm
    recorder.add(
        "mutated",
        "picture with changed bytes",
        tries=tried,
        survived=tried,
        message=f"{whole} whole, {tried - whole} refused; slowest {watched.slowest:.1f} s",
    )


def whole_tars() -> list[bytes]:
    """Plain and packed, with long names, attributes and folders."""
    members = {"a": None, "a/one.png": b"one" * 300, "a/ü.txt": b"x" * 1025, "l" * 160: b""}
    made = []
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        for mode in ("w", "w:gz"):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode=mode, format=form) as tar:
                for name, data in members.items():
                    member = tarfile.TarInfo(name)
                    member.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
                    member.size = len(data or b"")
                    tar.addfile(member, io.BytesIO(data or b""))
            made.append(buffer.getvalue())
    return made


def test_tars(tmp_path, recorder: Recorder):
    from inception_finetune.components.io.tar import extract_tar, is_tar

    inside = tmp_path / "in"
    inside.mkdir()
    archive, out = inside / "x.tar", inside / "out"
    files = whole_tars()
    generator = random.Random(0)
    watched = Watched(TARS)
    unpacked = refused = 0
    message = ""
    before = sorted(tmp_path.iterdir())
    for number in watched.steps(iter(range(TARS))):
        data = files[number % len(files)]
        for _ in range(generator.randrange(1, 4)):
            data = mutate(data[:1024], generator) + data[1024:]  # where the headers are
        archive.write_bytes(data)
        try:
            extract_tar(archive, out)
            unpacked += 1
            assert is_tar(archive)
        except UserError as error:
            refused += 1
            message = message or str(error).replace(str(tmp_path), "…")
            assert "\n" not in str(error) and not out.exists(), number
        shutil.rmtree(out, ignore_errors=True)
        assert sorted(inside.iterdir()) == [archive] and sorted(tmp_path.iterdir()) == before
    assert unpacked and refused
    recorder.add(
        "mutated",
        "tar with changed bytes",
        tries=TARS,
        survived=TARS,
        message=f"{unpacked} unpacked, {refused} refused: {message}",
    )


def test_modules(tmp_path, recorder: Recorder, monkeypatch):
    from helpers.toy_network import TOY
    from inception_finetune.components.backbone.networks import NETWORKS
    from inception_finetune.components.backbone.standin import make_standin

    monkeypatch.setitem(NETWORKS, TOY.name, TOY)
    module = tmp_path / "module"
    make_standin(module, seed=0, network=TOY.name, image_size=16)
    said: dict[int, str] = {}
    while len(said) < MODULES:
        said |= load_from(len(said), module, tmp_path / "copies")
    failed = {number: text for number, text in said.items() if text.startswith("failed")}
    refused = [text for text in said.values() if text.startswith("refused ")]
    recorder.add(
        "mutated",
        "module with changed bytes or operations",
        tries=MODULES,
        survived=MODULES - len(failed),
        message=f"{MODULES - len(refused) - len(failed)} loaded, {len(refused)} refused",
    )
    assert not failed
    assert refused and len(refused) < MODULES


def load_from(first: int, module: Path, folder: Path) -> dict[int, str]:
    """What came of the modules from `first` on, to the last or to one that ends the process."""
    folder.mkdir(exist_ok=True)
    script = Path(__file__).with_name("load_mutated_modules.py")
    arguments = [str(module), str(folder), str(first), str(MODULES - first)]
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=read_into, args=(process.stdout, lines), daemon=True).start()
    said: dict[int, str] = {}
    begun = first
    while line := next_line(lines):
        number, _, rest = line.strip().partition(" ")
        begun = int(number)
        if rest != "begins":
            said[begun] = rest
    process.kill()
    status = process.wait()
    if begun not in said:
        ending = "hangs" if line is None else f"ends the process: {signal.Signals(-status).name}"
        said[begun] = f"failed: {ending}"
    return said


def read_into(stream, lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def next_line(lines: queue.Queue[str]) -> str | None:
    """The empty text at the end, None where there is none for long."""
    try:
        return lines.get(timeout=LONGEST_LOAD)
    except queue.Empty:
        return None
