"""Archives: what is read is what was written, and what is hostile or wrong is refused in a line."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.made_archives import made_batch, made_images, made_members, write_archive
from inception_finetune.components.dataset.archive import read_archive
from inception_finetune.components.dataset.unpickle import load_dictionary
from inception_finetune.components.errors import UserError


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_archive(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def refusal_of(tmp_path: Path, **changes: Any) -> str:
    """Of a good archive with the fields ``batch__field=value`` or members ``name=content``."""
    members = made_members()
    for key, value in changes.items():
        name, _, field = key.replace("meta", "batches.meta").partition("__")
        if field:
            members[name][field] = value
        else:
            members[name] = value
    return refusal(write_archive(tmp_path / "x.tar.gz", members))


def test_reads_pixels_labels_and_names(tmp_path):
    archive = read_archive(write_archive(tmp_path / "x.tar.gz", made_members()))
    assert archive.label_names == ("red", "green", "blue")
    assert [(b.name, b.split) for b in archive.batches] == [
        ("data_batch_1", "train"),
        ("data_batch_2", "train"),
        ("test_batch", "test"),
    ]
    for seed, batch in enumerate(archive.batches):
        np.testing.assert_array_equal(batch.images, made_images(30, seed))
        assert batch.labels.tolist() == [0, 1, 2] * 10


def test_channel_planes_and_rows_are_where_cifar_has_them(tmp_path):
    members = made_members(train_batches=1, per_batch=3)
    members["test_batch"]["data"] = np.arange(3 * 48, dtype=np.uint8).reshape(3, 48)
    image = read_archive(write_archive(tmp_path / "x.tar.gz", members)).batches[-1].images[0]
    assert image[0, 0].tolist() == [0, 16, 32]  # red, green, blue of the first pixel
    assert image[0, 1].tolist() == [1, 17, 33]  # the pixel to its right
    assert image[1, 0].tolist() == [4, 20, 36]  # the pixel below it


def test_batches_come_in_the_order_of_their_numbers(tmp_path):
    members = made_members(train_batches=11, per_batch=3)
    archive = read_archive(write_archive(tmp_path / "x.tar.gz", dict(reversed(members.items()))))
    assert [b.name for b in archive.batches] == [
        *(f"data_batch_{number}" for number in range(1, 12)),
        "test_batch",
    ]


@pytest.mark.parametrize("protocol", range(5))
def test_every_pickle_protocol_gives_the_same(tmp_path, protocol):
    expected = read_archive(write_archive(tmp_path / "2.tar.gz", made_members()))
    members = {name: pickle.dumps(c, protocol=protocol) for name, c in made_members().items()}
    archive = read_archive(write_archive(tmp_path / "x.tar.gz", members))
    assert archive.fingerprint == expected.fingerprint


def test_python_2_wrote_bytes_for_text(tmp_path):
    """Protocol 2 as Python 2 wrote it: SHORT_BINSTRING for keys, pixels and names."""
    pixels = bytes(range(48))
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01bt R(K\x01K\x01K0"
        b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89U0" + pixels + b"tb"
    ).replace(b"bt R", b"btR")
    batch = b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x02eu."
    meta = b"\x80\x02}U\x0blabel_names](U\x03redU\x05greenU\x04bluees."
    members = {"batches.meta": meta, "data_batch_1": batch, "test_batch": batch}
    archive = read_archive(write_archive(tmp_path / "x.tar.gz", members))
    assert archive.label_names == ("red", "green", "blue")
    assert archive.batches[0].labels.tolist() == [2]
    assert archive.batches[0].images[0, 0, 1].tolist() == [1, 17, 33]


def test_bytes_that_python_3_wrote_in_protocol_2(tmp_path):
    members = made_members()
    members["batches.meta"] = {b"label_names": [b"red", "grün".encode(), b"blue"]}
    archive = read_archive(write_archive(tmp_path / "x.tar.gz", members))
    assert archive.label_names == ("red", "grün", "blue")


def test_a_plain_tar_a_folder_and_its_parent_are_the_same_archive(tmp_path):
    packed = write_archive(tmp_path / "x.tar.gz", made_members())
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    plain = tmp_path / "x.tar"
    with tarfile.open(plain, "w") as tar:
        tar.add(tmp_path / "out", arcname=".")
    places = (packed, plain, tmp_path / "out", tmp_path / "out" / "made")
    assert len({read_archive(place).fingerprint for place in places}) == 1


@pytest.mark.parametrize("change", ["pixel", "label", "name", "order"])
def test_the_fingerprint_tells_any_change(tmp_path, change):
    members = made_members()
    before = read_archive(write_archive(tmp_path / "x.tar.gz", members)).fingerprint
    if change == "pixel":
        members["test_batch"]["data"][-1, -1] ^= 1
    elif change == "label":
        members["data_batch_1"]["labels"][-1] = 0
    elif change == "name":
        members["batches.meta"]["label_names"] = ["red", "green", "violet"]
    else:
        first, second = members["data_batch_1"], members["data_batch_2"]
        members |= {"data_batch_1": second, "data_batch_2": first}
    assert read_archive(write_archive(tmp_path / "x.tar.gz", members)).fingerprint != before


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Reconstructed:
    """Pickles as an array does, with any shape, type and state."""

    def __init__(self, state: tuple[Any, ...], shape: Any = (0,), code: bytes = b"b") -> None:
        function, (cls, _, _) = np.empty(0).__reduce__()[:2]
        self.parts = function, (cls, shape, code), state

    def __reduce__(self) -> Any:
        return self.parts


def hostile() -> dict[str, tuple[Any, str]]:
    import copyreg

    u1 = np.dtype("u1")
    return {
        "command": (Calls(os.system, "touch CALLED"), "posix.system"),
        "subprocess": (Calls(subprocess.call, ["touch", "CALLED"]), "commands.call"),
        "eval": (Calls(eval, "open('CALLED', 'w')"), "__builtin__.eval"),
        "getattr": (Calls(getattr, "", "join"), "getattr"),
        "copyreg": (Calls(copyreg._reconstructor, object, object, None), "_reconstructor"),
        "numpy file": (Calls(np.fromfile, "/etc/hostname"), "fromfile"),
        "numpy load": (Calls(np.load, "x.npy", None, True), "load"),
        "memory map": (Calls(np.memmap, "CALLED", "u1", "w+", 0, (9,)), "memmap"),
        "global below": (b"\x80\x04\x8c\x05numpy\x8c\x0ef2py.os.system\x93.", "numpy.f2py.os"),
        "array of any size": (Calls(np.ndarray, (1 << 40,), u1), "calls numpy.ndarray"),
        "codec": (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00rot_13\x86R.",
                  "encodes text as 'rot_13'"),
        "huge element": (Calls(np.dtype, "S2000000000"), "have the type 'S2000000000'"),
        "objects": (np.array([{}], object), "have the type 'O8'"),
        "structure": (np.zeros(1, [("a", "u1")]), "have the type 'V1'"),
        "floats": (np.zeros(4), "have the type 'f8'"),
        "structure in disguise": (
            b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R(K\x03X\x01\x00\x00\x00|NX\x01\x00\x00"
            b"\x00aNtb.",
            "have a structured type",
        ),
        "huge shape": (Reconstructed((1, (1 << 40, 48), u1, False, b"x")), "takes 52776558133248"),
        "negative shape": (Reconstructed((1, (-1, -48), u1, False, bytes(48))), "negative length"),
        "shape of another size": (Reconstructed((1, (2, 48), u1, False, bytes(48))), "takes 96"),
        "no state": (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.", "an array"),
        "memo": (b"\x80\x02Nr\xff\xff\xff\x7f.", "place 2147483647 of the memo"),
        "memo in text": (b"Np2147483647\n.", "place 2147483647 of the memo"),
        "persistent id": (b"\x80\x02K\x00Q.", "persistent"),
        "instance": (b"(cos\nsystem\nios\nsystem\n.", "os.system"),
        "list": ([1, 2], "[1, 2], not a dictionary"),
        "nothing": (b"", "no readable pickle"),
        "text": (b"<html>Not found</html>", "no readable pickle"),
        "number key": ({1: 2}, "1 is not text"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", sorted(hostile()))
def test_hostile_and_broken_pickles_are_refused(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    content, reason = hostile()[kind]
    message = refusal_of(tmp_path, data_batch_1=content)
    assert message.startswith(f"data_batch_1 in {tmp_path}/x.tar.gz is refused: ")
    assert reason in message
    assert message.endswith("Fetch the archive again, from its publisher.")
    assert not Path("CALLED").exists()


HOSTILE_VALUES = sorted(
    kind for kind, (value, _) in hostile().items() if not isinstance(value, bytes | list | dict)
)


@pytest.mark.parametrize("kind", HOSTILE_VALUES)
def test_hostile_values_are_refused_inside_a_batch_too(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    value, reason = hostile()[kind]
    assert reason in refusal_of(tmp_path, test_batch__data=value)
    assert not Path("CALLED").exists()


def test_a_pickle_cannot_change_what_the_next_one_calls():
    """BUILD sets attributes of anything that can be named; here of a function's."""
    state = b"\x80\x02cnumpy\ndtype\nN}X\x0c\x00\x00\x00__defaults__X\x01\x00\x00\x00a\x85s\x86b."
    with pytest.raises(UserError):
        load_dictionary(state)
    array = load_dictionary(pickle.dumps({"a": np.array([[1, 2], [3, 4]], "<i8")}, 2))["a"]
    assert array.tolist() == [[1, 2], [3, 4]]
    assert np.dtype("u1").itemsize == 1


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)),
        np.zeros((0, 3), np.int16),
        np.array(7, np.uint64),
    ],
)
def test_arrays_of_whole_numbers_come_back(array):
    loaded = load_dictionary(pickle.dumps({"a": array}, protocol=2))["a"]
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == array.dtype


def test_a_hostile_pickle_takes_little_memory():
    """In a process of its own with 1 GB: what claims more dies there, and only there."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from inception_finetune.components.dataset.unpickle import load_dictionary\n"
        "from inception_finetune.components.errors import UserError\n"
        "memo = b'\\x80\\x02Nr\\xff\\xff\\xff\\x7f.'\n"
        "length = b'\\x80\\x04\\x8e' + b'\\xff' * 7 + b'\\0.'\n"
        "for data in (memo, length):\n"
        "    try: load_dictionary(data)\n"
        "    except UserError as error: print(error)\n"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    first, second = done.stdout.splitlines()
    assert "place 2147483647 of the memo" in first
    assert "no readable pickle" in second


@pytest.mark.parametrize(
    ("label", "shown"),
    [(3, "3"), (-1, "-1"), (1.0, "1.0"), (True, "True"), ("1", "'1'"), (None, "None"),
     pytest.param(10**5000, "a int", id="huge"), ([[[[[[[[]]]]]]]], "[[[[[[[...]]]]]]]")],
)  # fmt: skip
def test_a_wrong_label_is_named_with_its_place(tmp_path, label, shown):
    message = refusal_of(tmp_path, data_batch_2__labels=[0, 1, 2, 0, label] + [0] * 25)
    assert f": label {shown} is not a whole number in [0, 3). " in message
    assert message.startswith(f"Example data_batch_2:4 in data_batch_2 in {tmp_path}/x.tar.gz: ")


def test_labels_may_be_an_array(tmp_path):
    members = made_members()
    members["test_batch"]["labels"] = np.array([2, 1, 0] * 10, np.uint8)
    archive = read_archive(write_archive(tmp_path / "x.tar.gz", members))
    assert archive.batches[-1].labels.tolist() == [2, 1, 0] * 10


@pytest.mark.parametrize("labels", [[0], [], np.zeros((), int), np.zeros((30, 1), int), "red", 5])
def test_labels_of_another_kind_or_number(tmp_path, labels):
    message = refusal_of(tmp_path, test_batch__labels=labels)
    assert "labels for 30 images" in message or "is not a whole number" in message


@pytest.mark.parametrize(
    ("data", "received"),
    [
        (np.zeros((30, 47), np.uint8), "30 rows of 47"),
        (np.zeros((30, 45), np.uint8), "30 rows of 45"),
        (np.zeros((0, 48), np.uint8), "0 rows of 48"),
        (np.zeros((30, 0), np.uint8), "30 rows of 0"),
        (np.zeros((30, 4, 12), np.uint8), "uint8 (30, 4, 12)"),
        (np.zeros((30, 48), np.int8), "int8 (30, 48)"),
        ([[0] * 48] * 30, "list"),
    ],
)
def test_wrong_shapes_are_named(tmp_path, data, received):
    assert f" {received}" in refusal_of(tmp_path, test_batch__data=data)


def test_batches_of_different_sizes(tmp_path):
    small = made_batch(np.zeros((30, 2, 2, 3), np.uint8), [0] * 30)
    assert "'data_batch_1': 4, 'data_batch_2': 4, 'test_batch': 2" in refusal_of(
        tmp_path, test_batch=small
    )


@pytest.mark.parametrize("names", [["one"], [], "red", None, ["a", "a", "b"], ["a", " "],
                                   ["a", "b\n0:c"], ["a", 5], [b"\xff\xfe", b"a"]])  # fmt: skip
def test_wrong_label_names(tmp_path, names):
    assert f"label_names of batches.meta in {tmp_path}/x.tar.gz" in refusal_of(
        tmp_path, meta__label_names=names
    )


@pytest.mark.parametrize(
    ("member", "field", "message"),
    [
        ("batches.meta", None, "lacks batches.meta, which names the labels"),
        ("test_batch", None, "lacks test_batch"),
        ("data_batch_1", None, "lacks data_batch_1"),
        ("data_batch_1", "data", "lacks 'data': it has ['labels']"),
        ("test_batch", "labels", "lacks 'labels': it has ['data']"),
        ("batches.meta", "label_names", "lacks 'label_names': it has []"),
    ],
)
def test_what_is_missing_is_named(tmp_path, member, field, message):
    members = made_members(train_batches=1)
    if field:
        del members[member][field]
    else:
        del members[member]
    assert message in refusal(write_archive(tmp_path / "x.tar.gz", members))


def test_a_batch_that_stands_there_twice(tmp_path):
    members = made_members()
    path = write_archive(tmp_path / "x.tar.gz", members | {"../made/test_batch": b""}, "made/x/")
    assert "leads outside the archive" in refusal(path)
    path = write_archive(
        tmp_path / "x.tar.gz", members | {"other/test_batch": members["test_batch"]}
    )
    assert "holds test_batch twice" in refusal(path)


def test_a_link_is_refused_though_it_is_no_batch(tmp_path):
    path = write_archive(tmp_path / "x.tar", made_members())
    link = tarfile.TarInfo("made/readme")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(path, "w") as tar:
        tar.addfile(link)
    assert "neither a plain file nor a directory" in refusal(path)


def test_a_truncated_archive_and_no_archive(tmp_path):
    path = write_archive(tmp_path / "x.tar.gz", made_members())
    path.write_bytes(path.read_bytes()[:-2000])
    assert "damaged or incomplete. Fetch it again" in refusal(path)
    path.write_bytes(b"<html>")
    assert "damaged or incomplete. Fetch it again" in refusal(path)
    shutil.rmtree(tmp_path)
    assert "No such archive" in refusal(path)


@pytest.mark.real_data
def test_real_cifar_10(cifar_archive):
    archive = read_archive(cifar_archive)
    assert archive.label_names == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    assert [batch.name for batch in archive.batches] == [
        *(f"data_batch_{number}" for number in range(1, 6)),
        "test_batch",
    ]
    assert {batch.images.shape[1:] for batch in archive.batches} == {(32, 32, 3)}
    # Both read independently: by an unpickler that trusts the file, from the tar's own bytes.
    with tarfile.open(cifar_archive) as tar:
        member = next(m for m in tar if m.name.endswith("/data_batch_1"))
        content = pickle.load(tar.extractfile(member), encoding="bytes")
    batch = archive.batches[0]
    for index in (0, 5, len(batch.labels) - 1):
        planes = content[b"data"][index].reshape(3, 32, 32)
        np.testing.assert_array_equal(batch.images[index], np.moveaxis(planes, 0, 2))
    assert batch.labels.tolist() == content[b"labels"]
    assert (
        hashlib.sha256(content[b"data"].tobytes()).digest()
        == hashlib.sha256(batch.images.transpose(0, 3, 1, 2).tobytes()).digest()
    )
