"""Weights that are damaged or hostile: one line each, and no more memory than a network needs."""

import io
import json
import struct
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest

from inception_finetune.components.backbone import foreign
from inception_finetune.components.backbone.module import resolve
from inception_finetune.components.backbone.weights import importing, keras_file, npz, tfjs
from inception_finetune.components.errors import UserError

KERNEL = "conv2d/kernel:0"
LARGE = 1 << 26  # bytes


def npy_header(text, version=b"\x01\x00"):
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + length + text


def array_file(content, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(f"{KERNEL}.npy", content)
    return buffer.getvalue()


def of_shape(shape, kind="<f4"):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return array_file(npy_header(text))


def patched(content, place, value, directory_place):
    """A zip with a field of its first member changed, where it stands twice."""
    changed = bytearray(content)
    directory = content.index(b"PK\x01\x02")
    changed[place : place + 2] = value
    changed[directory + directory_place : directory + directory_place + 2] = value
    return bytes(changed)


PLAIN = of_shape("(3, 3, 3, 32)")
NPZ_FAULTS = {
    "huge shape": of_shape(f"({1 << 40}, {1 << 40})"),
    "huge text": of_shape("(1,)", "S1000000000"),
    "encrypted": patched(PLAIN, 6, b"\x01\x00", 8),
    "unknown method": patched(PLAIN, 8, b"\x63\x00", 10),
    "broken deflate": PLAIN[:60] + b"\xff" * 20 + PLAIN[80:],
    "header that is no dict": array_file(npy_header(b"print(1)")),
    "header that is not Python": array_file(npy_header(b"{'descr': (((")),
    "nested header": array_file(npy_header(b"(" * 9000)),
    "header of 4 GB": array_file(b"\x93NUMPY\x02\x00" + b"\xff" * 4),
    "unknown version": array_file(npy_header(b"{}", b"\x09\x00")),
    "no header": array_file(b""),
    "objects": of_shape("(1,)", "|O"),
}


@pytest.mark.parametrize("content", NPZ_FAULTS.values(), ids=NPZ_FAULTS)
def test_a_damaged_npz_is_one_line(tmp_path, content):
    path = tmp_path / "w.npz"
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"w\.npz (is not an \.npz|do not fit|that)|in .*w\.npz"
    ) as held:
        npz.read(path, "inception_v3")
    assert "\n" not in str(held.value)


def test_a_single_array_is_one_line(tmp_path):
    np.save(tmp_path / "w.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"w\.npy is none of them: weights are read from"):
        importing.import_weights(tmp_path / "w.npy", tmp_path / "out")
    with pytest.raises(UserError, match=r"w\.npy is not a backbone"):
        resolve(str(tmp_path / "w.npy"), tmp_path / "cache", importing.is_source)


def peak(read):
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as held:
            read()
        return tracemalloc.get_traced_memory()[1], str(held.value)
    finally:
        tracemalloc.stop()


def test_an_npz_that_unpacks_to_more_than_a_network_is_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", **{KERNEL: np.zeros(LARGE // 4, np.float32)})
    used, told = peak(lambda: npz.read(tmp_path / "w.npz", "inception_v3"))
    assert f"{KERNEL.removesuffix(':0')} [{LARGE // 4}] instead of [3, 3, 3, 32]" in told
    assert used < LARGE / 4


def test_text_in_hdf5_is_not_unpacked(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        made = file.create_dataset("x", (3, 3, 3, 32), f"S{LARGE // 864}", compression="gzip")
        assert keras_file._array(made).size == 0


def test_chunks_of_hdf5_that_are_larger_than_the_array_are_not_unpacked(tmp_path):
    sizes = {"chunks": (3, 3, 3, LARGE // 27), "maxshape": (None,) * 4}
    with h5py.File(tmp_path / "w.h5", "w") as file:
        made = file.create_dataset("x", (3, 3, 3, 32), "f4", compression="gzip", **sizes)
        with pytest.raises(ValueError, match="/x has chunks of 268,435,404 bytes"):
            keras_file._array(made)


def test_a_keras_file_that_unpacks_to_much_takes_no_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(LARGE))
    used, told = peak(lambda: keras_file.read(tmp_path / "w.keras", "inception_v3"))
    assert "w.keras cannot be read" in told
    assert used < LARGE / 4


@pytest.mark.parametrize("name", ["config.json", "model.json"])
def test_a_description_of_any_size_is_not_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr(foreign, "LARGEST_TEXT", 1000)
    monkeypatch.setattr(keras_file, "LARGEST_TEXT", 1000)
    text = json.dumps({"weightsManifest": [], "padding": "x" * 2000})
    if name == "config.json":
        with zipfile.ZipFile(tmp_path / "w.keras", "w") as archive:
            archive.writestr("config.json", text)
            archive.writestr("model.weights.h5", b"")
        with pytest.raises(UserError, match=r"its config.json has over 1,000 bytes"):
            keras_file.read(tmp_path / "w.keras", "inception_v3")
    else:
        (tmp_path / name).write_text(text)
        assert not tfjs.recognises(tmp_path / name)
        with pytest.raises(UserError, match=r"model.json has over 1,000 bytes"):
            tfjs.read(tmp_path / name, "inception_v3")


def tfjs_model(folder, **weight):
    weights = [{"name": "conv2d/kernel", "dtype": "float32", "shape": [2], **weight}]
    model = {"weightsManifest": [{"paths": ["shard"], "weights": weights}]}
    (folder / "model.json").write_text(json.dumps(model))


def test_shards_are_read_only_where_a_variable_of_the_network_lies(tmp_path):
    tfjs_model(tmp_path, shape=[LARGE // 4])
    with (tmp_path / "shard").open("wb") as file:
        file.truncate(LARGE)
    used, told = peak(lambda: tfjs.read(tmp_path, "inception_v3"))
    assert f"[{LARGE // 4}] instead of [3, 3, 3, 32]" in told
    assert used < LARGE / 4


@pytest.mark.parametrize("shape", ["[1e400]", '["x"]', "[" * 3000, "null"])
def test_a_shape_that_is_none_is_one_line(tmp_path, shape):
    tfjs_model(tmp_path, shape="SHAPE")
    (tmp_path / "shard").write_bytes(bytes(8))
    text = (tmp_path / "model.json").read_text().replace('"SHAPE"', shape)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(UserError, match="TensorFlow.js model .* cannot be read") as held:
        tfjs.read(tmp_path, "inception_v3")
    assert "\n" not in str(held.value)


@pytest.mark.parametrize("manifest", ["[{}]", "[1]", "7"])
def test_a_manifest_that_names_no_shards_is_one_line(tmp_path, manifest):
    (tmp_path / "model.json").write_text(f'{{"weightsManifest": {manifest}}}')
    with pytest.raises(UserError, match="TensorFlow.js model .* cannot be read"):
        importing.source_digest(tmp_path / "model.json")


def test_files_too_large_for_weights_are_neither_hashed_nor_read(tmp_path):
    tfjs_model(tmp_path)
    with (tmp_path / "shard").open("wb") as file:
        file.truncate(300_000_000_000)  # sparse
    for read in (importing.source_digest, lambda path: importing.import_weights(path, path / "o")):
        with pytest.raises(UserError, match=r"have 300,.* bytes, and at most 4,294,967,296"):
            read(tmp_path)
