"""Whole inputs that are damaged or hostile: records, archives, modules, configuration files.

Each case writes its input below a folder and then has it read; ``told`` is a pattern of the one
line that it must end in, and None where all must go well.
"""

import gzip
import io
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.made_archives import made_members, write_archive
from helpers.made_pictures import encoded, good_shards, record, write_folder, write_records
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_set import convert_dataset

RECORDS = "train-00000-of-00001.tfrecord"


@dataclass(frozen=True)
class Case:
    fault: str
    name: str
    told: str | None
    attempt: Callable[[Path], Any]


def cases() -> Iterator[Case]:
    yield from _damaged_record_files()
    yield from _pictures_in_records()
    yield from _labels()
    yield from _hostile_pickles()
    yield from _hostile_tars()
    yield from _hostile_modules()
    yield from _damaged_weights()
    yield from _hostile_yaml()
    yield from _strange_paths()


def converted(source: Path, target: Path, *overrides: str) -> Any:
    arguments = [f"dataset.archive={source}", "dataset.validation_fraction=0.2", *overrides]
    return convert_dataset(load_config("digits", arguments), target)


def _damaged_record_files() -> Iterator[Case]:
    def damaged(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
        def attempt(folder: Path) -> Any:
            source = write_records(folder / "in", good_shards())
            (source / RECORDS).write_bytes(change((source / RECORDS).read_bytes()))
            return converted(source, folder / "out")

        return attempt

    def flip(seed: int) -> Callable[[bytes], bytes]:
        def change(data: bytes) -> bytes:
            place = random.Random(seed).randrange(len(data))
            return data[:place] + bytes([data[place] ^ 1 << seed % 8]) + data[place + 1 :]

        return change

    for share in range(1, 13):
        cut = damaged(lambda data, share=share: data[: len(data) * share // 13 - 1])
        yield Case("truncated TFRecord", f"to {share}/13", "not a TFRecord file|ends in the", cut)
    for seed in range(24):
        told = "fit its checksum|not a TFRecord file|ends in the"
        yield Case("bit-flipped TFRecord", f"seed {seed}", told, damaged(flip(seed)))
    for name, change in (
        ("compressed", gzip.compress),
        ("text", lambda _: b"no records\n" * 50),
        ("zeros", lambda data: bytes(len(data))),
        ("bytes behind the end", lambda data: data + b"xyz"),
    ):
        yield Case("file that is no TFRecord", name, "not a TFRecord file", damaged(change))
    yield Case("file that is no TFRecord", "empty", "is empty", damaged(lambda _: b""))


def _pictures_in_records() -> Iterator[Case]:
    """Under the default policy, in either split."""
    for split in ("train", "test"):

        def attempt(folder: Path, split: str = split) -> Any:
            shards = good_shards()
            damaged = record(IMAGE_ENCODED=encoded(9000)[:60], LABEL=0)
            shards[f"{split}-00000-of-00001.tfrecord"].insert(3, damaged)
            return converted(write_records(folder / "in", shards), folder / "out")

        told = f"{split}-00000-of-00001.tfrecord:3 .*is not a whole PNG or JPEG"
        yield Case("damaged picture in a record", split, told, attempt)


def _labels() -> Iterator[Case]:
    picture = encoded(9000)
    for name, label in (
        ("missing", None),
        ("-1", -1),
        ("2 of 2", 2),
        ("2**62", 2**62),
        ("a float", 1.0),
        ("not a number", float("nan")),
        ("infinite", float("inf")),
        ("text", b"fox"),
        ("two", [0, 1]),
        ("none", []),
    ):

        def attempt(folder: Path, label: Any = label) -> Any:
            shards = good_shards()
            shards[RECORDS].insert(3, record(IMAGE_ENCODED=picture, LABEL=label))
            return converted(write_records(folder / "in", shards), folder / "out")

        yield Case("wrong label in a record", name, "label is .*, not one whole number in", attempt)
    for name, label in (("3 of 3", 3), ("a float", 0.0), ("text", "red"), ("None", None)):

        def attempt_archive(folder: Path, label: Any = label) -> Any:
            members = made_members()
            members["test_batch"]["labels"][2] = label
            return converted(write_archive(folder / "x.tar.gz", members), folder / "out")

        yield Case("wrong label in an archive", name, "is not a whole number", attempt_archive)


class _Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> Any:
        return self.parts


def _hostile_pickles() -> Iterator[Case]:
    import os
    import shutil
    import subprocess

    for name, value in (
        ("os.system", _Calls(os.system, "touch CALLED")),
        ("subprocess", _Calls(subprocess.call, ["touch", "CALLED"])),
        ("eval", _Calls(eval, "open('CALLED', 'w')")),
        ("exec", _Calls(exec, "open('CALLED', 'w')")),
        ("open", _Calls(open, "CALLED", "w")),
        ("__import__", _Calls(__import__, "this")),
        ("rmtree", _Calls(shutil.rmtree, "DIRECTORY")),
        ("getattr", _Calls(getattr, "", "join")),
    ):
        for protocol in (0, 2, 4):
            data = pickle.dumps(value, protocol)

            def attempt(folder: Path, data: bytes = data) -> Any:
                members = made_members() | {"data_batch_1": data}
                return converted(write_archive(folder / "x.tar.gz", members), folder / "out")

            yield Case("pickle that calls code", f"{name}, {protocol}", "is refused", attempt)


def _hostile_tars() -> Iterator[Case]:
    def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **fields: Any) -> Any:
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, size
        for key, value in fields.items():
            setattr(info, key, value)
        return info

    for name, info, told in (
        ("..", member("../evil"), "leads outside"),
        (".. further down", member("a/../../evil"), "leads outside"),
        ("absolute", member("/tmp/evil"), "leads outside"),
        ("symbolic link", member("evil", tarfile.SYMTYPE, linkname="/etc/passwd"), "neither"),
        ("hard link", member("evil", tarfile.LNKTYPE, linkname="../x"), "neither"),
        ("link for a batch", member("test_batch", tarfile.SYMTYPE, linkname="/etc"), "neither"),
        ("device", member("evil", tarfile.CHRTYPE, devmajor=1, devminor=5), "neither"),
        ("block device", member("evil", tarfile.BLKTYPE, devmajor=8), "neither"),
        ("pipe", member("evil", tarfile.FIFOTYPE), "neither"),
        ("sparse file", member("evil", tarfile.GNUTYPE_SPARSE), "neither|Cannot unpack"),
        ("name of 3 GB", member("x", tarfile.GNUTYPE_LONGNAME, 3 << 30), "a name or attributes"),
        ("attributes of 3 GB", member("x", tarfile.XHDTYPE, 3 << 30), "a name or attributes"),
        ("file of 8 TB", member("test_batch", size=8 << 40), "unpacks to over"),
    ):

        def attempt(folder: Path, info: tarfile.TarInfo = info) -> Any:
            path = folder / "x.tar"
            with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
                meta = pickle.dumps({"label_names": ["cat", "dog"]}, 2)
                tar.addfile(member("made/batches.meta", size=len(meta)), io.BytesIO(meta))
                tar.addfile(info)
            return converted(path, folder / "out")

        yield Case("hostile tar member", name, told, attempt)


def _hostile_modules() -> Iterator[Case]:
    for operation in (
        *("ReadFile", "WriteFile", "MatchingFiles", "WholeFileReaderV2", "PyFunc", "EagerPyFunc"),
        *("TFRecordDataset", "TextLineDataset", "SaveV2", "PrintV2", "LookupTableImportV2"),
        *("InitializeTableFromTextFileV2", "DebugIdentityV2", "SomebodysOwnOp"),
        *("Abort", "ImmutableConst", "While", "StatelessWhile", "BatchFunction", "DecodeProtoV2"),
    ):

        def attempt(folder: Path, operation: str = operation) -> Any:
            from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

            from inception_finetune.components.backbone.load import load_backbone

            model = SavedModel(saved_model_schema_version=1)
            graph = model.meta_graphs.add()
            graph.graph_def.node.add(name="x", op=operation)
            graph.signature_def["serving_default"].outputs["y"].name = "x:0"
            folder.joinpath("saved_model.pb").write_bytes(model.SerializeToString())
            return load_backbone(folder, image_size=75)

        yield Case(
            "module that does more than compute", operation, f"not loaded.*{operation}", attempt
        )


def _damaged_weights() -> Iterator[Case]:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
    for name, array in (
        ("4 TB", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header),
        ("no header", b""),
        ("header that is no Python", b"\x93NUMPY\x01\x00\x05\x00((((("),
        ("header of 4 GB", b"\x93NUMPY\x02\x00\xff\xff\xff\xff"),
    ):

        def attempt(folder: Path, array: bytes = array) -> Any:
            from inception_finetune.components.backbone.weights.importing import import_weights

            with zipfile.ZipFile(folder / "w.npz", "w") as archive:
                archive.writestr("InceptionV1/Conv2d_1a_7x7/weights.npy", array)
            return import_weights(folder / "w.npz", folder / "out")

        yield Case("damaged array of weights", name, "is not an .npz of|do not fit", attempt)


_LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{depth}: &a{depth} [{', '.join([f'*a{depth - 1}'] * 9)}]\n" for depth in range(1, 10)
)


def _hostile_yaml() -> Iterator[Case]:
    for name, text in (
        ("os.system", "!!python/object/apply:os.system ['touch CALLED']"),
        ("subprocess", "!!python/object/apply:subprocess.call [[touch, CALLED]]"),
        ("object", "training: !!python/object:trainer.settings.Training {}"),
        ("name", "name: !!python/name:os.system"),
        ("module", "name: !!python/module:os"),
        ("tuple", "name: !!python/tuple [a]"),
        ("a list", "- a\n- b"),
        ("unclosed", "training: {epochs: 3"),
        ("a tab", "training:\n\tepochs: 3"),
        ("extends a file", "extends: ../../etc/passwd"),
        ("laughs", "a: &a [x, x]\nb: &b [*a, *a]\nroot: [*b, *b]"),
        ("a billion laughs", f"{_LAUGHS}root: *a9"),
        ("a doubled key", "root: a\nroot: b"),
        ("a date that is none", "root: !!timestamp 2024-02-30"),
        ("deep", "root: " + "{a: " * 2000),
        ("bytes", "\x00\x01\x02"),
    ):

        def attempt(folder: Path, text: str = text) -> Any:
            (folder / "my.yaml").write_text(text)
            return load_config(str(folder / "my.yaml"))

        told = "is not plain YAML|not a mapping|of extends|unknown key|valid"
        yield Case("hostile configuration file", name, told, attempt)


def _strange_paths() -> Iterator[Case]:
    for name in (
        *("a b", " leading", "trailing ", "$(touch CALLED)", "`touch CALLED`", "; touch CALLED ;"),
        *("a'b", 'a"b', "a\nb", "a\tb", "*", "?[x]", "日本語 ü", "-rf", "a%20b", "#x", "a=b", "~"),
    ):

        def attempt(folder: Path, name: str = name) -> Any:
            (folder / name).mkdir()
            return converted(write_folder(folder / name / name), folder / name / "out")

        yield Case("path with strange characters", repr(name), None, attempt)
