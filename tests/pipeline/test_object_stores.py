"""Data sets at s3:// and gs:// are copied whole, once for each version, and read as local ones."""

import json
import re
import shutil
from pathlib import Path

import boto3
import pytest
from PIL import Image
from s3fs import S3FileSystem

from helpers.gcs_stub import serving_gcs
from helpers.made_layouts import CLASSES, converted, expected, made, read_out
from helpers.object_store import BUCKET
from inception_finetune.components.errors import UserError
from inception_finetune.components.io import store_copy
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_set import convert_dataset, fetch_archive
from inception_finetune.pipeline.drift.new_examples import as_records


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Class folders of train and test."""
    folder = tmp_path_factory.mktemp("local") / "pets"
    for one in made():
        path = folder / one.split / CLASSES[one.label] / f"{one.number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.png)
    return folder


@pytest.fixture
def s3(object_store, monkeypatch):
    """A client of the store, whose bucket is empty."""
    for name, value in object_store.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # it remembers its credentials
    client = boto3.client("s3")
    for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=one["Key"])
    return client


def upload(s3, folder):
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"data/pets/{path.relative_to(folder)}"
            s3.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())


def configure(tmp_path, source, *overrides):
    given = [f"dataset.archive={source}", f"cache={tmp_path / 'cache'}", *overrides]
    return load_config("digits", ["dataset.validation_fraction=0.25", *given])


PETS = f"s3://{BUCKET}/data/pets"


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def as_told(out, place):
    """What a manifest says of the data, wherever they lay and whenever they were written."""
    text = (out / "manifest.json").read_text()
    values = json.loads(text.replace(str(place), "PLACE"))
    values.pop("fingerprint")
    return values


def test_a_folder_is_converted_as_a_local_one(s3, pets, tmp_path, capsys):
    upload(s3, pets)
    s3.put_object(Bucket=BUCKET, Key="data/pets/", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="data/pets2/cow/1.png", Body=b"of another data set")
    config = configure(tmp_path, PETS)
    out = tmp_path / "out"
    manifest = convert_dataset(config, out)
    assert f"{PETS}: 18 objects copied, 0 removed, 0 kept\n" in capsys.readouterr().err
    copy = fetch_archive(config)
    assert content(copy) == content(pets)
    assert capsys.readouterr().err == ""  # nothing has changed, nothing is copied
    convert_dataset(configure(tmp_path, pets), tmp_path / "local")
    assert as_told(out, copy) == as_told(tmp_path / "local", pets)
    assert convert_dataset(config, out).fingerprint == manifest.fingerprint
    assert read_out(tmp_path / "source") == expected()


def test_an_archive_is_one_object(s3, pets, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", pets))
    s3.put_object(Bucket=BUCKET, Key="data/pets.zip", Body=archive.read_bytes())
    source = tmp_path / "source"
    converted(source, f"dataset.archive=s3://{BUCKET}/data/pets.zip")
    assert read_out(source) == expected()


def test_a_damaged_archive_is_not_kept(s3, tmp_path):
    s3.put_object(Bucket=BUCKET, Key="pets.zip", Body=b"<html>no archive</html>")
    config = configure(tmp_path, f"s3://{BUCKET}/pets.zip")
    with pytest.raises(UserError, match=rf"Copy of s3://{BUCKET}/pets.zip is refused and nothing"):
        fetch_archive(config)
    assert content(tmp_path / "cache" / "archives") == {}


def test_a_checksum_is_that_of_one_object(s3, pets, tmp_path):
    upload(s3, pets)
    with pytest.raises(UserError, match=f"{PETS} is a folder, and a checksum"):
        fetch_archive(configure(tmp_path, PETS, f"dataset.sha256={'0' * 64}"))
    s3.put_object(Bucket=BUCKET, Key="pets.zip", Body=b"some")
    with pytest.raises(UserError, match="pets.zip has sha256 .*; nothing of it was kept"):
        config = configure(tmp_path, f"s3://{BUCKET}/pets.zip", f"dataset.sha256={'0' * 64}")
        fetch_archive(config)
    assert content(tmp_path / "cache" / "archives") == {}


def test_only_what_changed_is_copied_again(s3, pets, tmp_path, capsys):
    upload(s3, pets)
    config = configure(tmp_path, PETS)
    copy = fetch_archive(config)
    first = convert_dataset(config, tmp_path / "out")
    kept = copy / "train/ant/3.png"
    before = kept.stat().st_ino
    image = Image.new("RGB", (7, 6), (1, 2, 3))
    image.save(tmp_path / "new.png")
    new = (tmp_path / "new.png").read_bytes()
    s3.put_object(Bucket=BUCKET, Key="data/pets/train/ant/0.png", Body=new)
    s3.delete_object(Bucket=BUCKET, Key="data/pets/train/bee/1.png")
    s3.delete_object(Bucket=BUCKET, Key="data/pets/test/bee/1.png")
    capsys.readouterr()
    second = convert_dataset(config, tmp_path / "out")
    assert f"{PETS}: 1 objects copied, 2 removed, 15 kept\n" in capsys.readouterr().err
    assert (copy / "train/ant/0.png").read_bytes() == new
    assert not (copy / "train/bee/1.png").exists() and kept.stat().st_ino == before
    assert first.fingerprint != second.fingerprint
    kept.write_bytes(b"")  # a copy that someone has damaged
    fetch_archive(config)
    assert kept.read_bytes() == content(pets)["train/ant/3.png"]


def test_a_change_of_the_same_size_is_noticed(s3, tmp_path):
    s3.put_object(Bucket=BUCKET, Key="data/pets/list.csv", Body=b"a,b")
    config = configure(tmp_path, PETS)
    fetch_archive(config)
    s3.put_object(Bucket=BUCKET, Key="data/pets/list.csv", Body=b"a,c")
    assert content(fetch_archive(config)) == {"list.csv": b"a,c"}


@pytest.mark.parametrize("large", [False, True])
def test_an_interrupted_copy_is_completed(s3, pets, tmp_path, monkeypatch, capsys, large):
    """Of a folder of small objects, or of one that arrives in blocks."""
    if large:
        archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", pets))
        s3.put_object(Bucket=BUCKET, Key="data/pets", Body=archive.read_bytes())
        monkeypatch.setattr(store_copy, "BLOCK", 1000)
    else:
        upload(s3, pets)
        monkeypatch.setattr(store_copy, "_TOGETHER", 5)
    real, calls = S3FileSystem._cat_file, []

    async def broken(self, *arguments, **options):
        calls.append(options)
        if len(calls) == (3 if large else 8):
            raise ConnectionError("gone: https://u:S3CRET@h/x?X-Amz-Signature=S1GN")
        return await real(self, *arguments, **options)

    monkeypatch.setattr(S3FileSystem, "_cat_file", broken)
    config = configure(tmp_path, PETS)
    with pytest.raises(UserError) as held:
        fetch_archive(config)
    assert str(held.value) == (
        f"Cannot copy {PETS}: ConnectionError: gone: https://h/x. What has arrived is kept: run "
        "the command again to continue from there."
    )
    archives = tmp_path / "cache" / "archives"
    assert not [one for one in archives.iterdir() if re.fullmatch("[0-9a-f]{12}", one.name)]
    capsys.readouterr()
    copy = fetch_archive(config)
    if large:
        assert calls[3]["start"] == 2000
        assert copy.read_bytes() == (tmp_path / "packed.zip").read_bytes()
    else:
        assert content(copy) == content(pets)
        assert f"{PETS}: 11 objects copied, 0 removed, 7 kept\n" in capsys.readouterr().err
    assert len(list(archives.iterdir())) == 2  # the copy and its note


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (["cat/../../../1.png"], "its key 'pipelines/data/pets/cat/../../../1.png' leads outside"),
        (["/etc/1.png"], "its key 'pipelines/data/pets//etc/1.png' leads outside"),
        (["cat//1.png", "cat/1.png"], "its key 'pipelines/data/pets/cat//1.png' is not a name"),
        (["cat/./1.png"], "its key 'pipelines/data/pets/cat/./1.png' is not a name"),
        (["cat", "cat/1.png"], "its key 'pipelines/data/pets/cat' is a file and a folder"),
    ],
)
def test_a_key_that_is_no_path_is_refused(s3, monkeypatch, tmp_path, keys, why):
    # boto3 and this server normalise some of these keys; a hostile store would not.
    found = {f"{BUCKET}/data/pets/{key}": {"type": "file", "size": 1, "ETag": "x"} for key in keys}
    monkeypatch.setattr(S3FileSystem, "find", lambda *_, **__: found)
    s3.put_object(Bucket=BUCKET, Key="data/pets/1.png", Body=b"x")
    with pytest.raises(UserError, match=f"{PETS} is refused: {re.escape(why)}"):
        fetch_archive(configure(tmp_path, PETS))
    assert content(tmp_path / "cache") in ({}, {".run.lock": b""})


def test_too_many_and_too_large_are_refused(s3, pets, tmp_path, monkeypatch):
    upload(s3, pets)
    with monkeypatch.context() as patched:
        patched.setattr(store_copy, "MAX_FILES", 17)
        with pytest.raises(UserError, match="holds 18 objects, and at most 17 are copied"):
            fetch_archive(configure(tmp_path, PETS))
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=f"{PETS} needs 0.0 GB .* Free space, or give another"):
        fetch_archive(configure(tmp_path, PETS))


def test_a_bucket_or_key_that_is_not_there_is_told(s3, tmp_path):
    for place in (f"s3://{BUCKET}/none", "s3://no-such-bucket/none", "s3://no-such-bucket"):
        with pytest.raises(UserError) as held:
            fetch_archive(configure(tmp_path, place))
        assert str(held.value) == f"No such file or folder: {place}. Check the address."


def test_without_network_or_credentials_a_copy_is_used(s3, pets, tmp_path, monkeypatch, capsys):
    upload(s3, pets)
    config = configure(tmp_path, PETS)
    copy = fetch_archive(config)
    capsys.readouterr()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    S3FileSystem.clear_instance_cache()
    assert fetch_archive(config) == copy
    line = capsys.readouterr().err
    assert line.startswith(f"whether {PETS} has changed cannot be told: {PETS} cannot be listed (")
    assert "NoCredentialsError" in line and line.endswith(f"the copy {copy} is used\n")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UserError, match="NoCredentialsError.*Check the address, the network, and"):
        fetch_archive(config)


def test_passwords_in_an_address_are_refused_and_not_shown(tmp_path):
    with pytest.raises(UserError, match="s3://bucket/pets is refused") as held:
        fetch_archive(configure(tmp_path, "s3://KEY:S3CRET@bucket/pets"))
    assert "S3CRET" not in str(held.value)


def test_new_data_in_a_store_are_checked_as_local_ones(s3, pets, tmp_path):
    upload(s3, pets)
    config = configure(tmp_path, "digits")
    sizes = []
    for place in (PETS, str(pets)):
        with as_records(config, [place], CLASSES, labelled=True) as new:
            sizes.append([Path(file).read_bytes() for file in new.files])
    assert sizes[0] == sizes[1] and len(sizes[0][0]) > 1000


def test_google_cloud_storage_is_read_by_generations(pets, tmp_path, monkeypatch, capsys):
    objects = {f"data/pets/{path}": data for path, data in content(pets).items()}
    with serving_gcs("bucket", objects) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
        monkeypatch.setenv("FSSPEC_GS_TOKEN", "anon")
        config = configure(tmp_path, "gs://bucket/data/pets/")
        copy = fetch_archive(config)
        assert content(copy) == content(pets)
        other = content(pets)["train/ant/0.png"][::-1]  # of the same size and date
        server.put("data/pets/train/ant/0.png", other)
        capsys.readouterr()
        assert (fetch_archive(config) / "train/ant/0.png").read_bytes() == other
        line = "gs://bucket/data/pets/: 1 objects copied, 0 removed, 17 kept\n"
        assert line in capsys.readouterr().err


def test_commands_take_an_address(s3, pets, tmp_path, run_command):
    upload(s3, pets)
    settings = [f"dataset.archive={PETS}", f"cache={tmp_path / 'cache'}"]
    status, out, _ = run_command("data", "fetch", *settings)
    assert status == 0 and content(Path(out.strip())) == content(pets)
    grid = tmp_path / "grid.png"
    status, out, err = run_command("data", "show", *settings, "--picture", grid)
    assert status == 0 and grid.exists() and "folders train/CLASS, test/CLASS, 3 classes" in err
    status, _, err = run_command("data", "fetch", settings[0] + "-lost", settings[1])
    assert (
        status != 0 and err == f"error: No such file or folder: {PETS}-lost. Check the address.\n"
    )
