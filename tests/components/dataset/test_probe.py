"""What is the same picture, and what of a picture training sees otherwise."""

import json

import numpy as np
import pytest
from PIL import Image

from helpers.encoded_pictures import deep, encode, exif_of, noise, transparent, with_chunks
from inception_finetune.components.dataset import changes
from inception_finetune.components.dataset.probe import ImageInfo, probe_image
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_set import convert_dataset


def seen(encoded: bytes) -> ImageInfo:
    found = probe_image(encoded)
    assert isinstance(found, ImageInfo)
    return found


def test_the_same_picture_has_one_digest_however_it_is_encoded():
    grey = noise(6, 8)
    rgb = np.dstack([grey] * 3)
    opaque = np.dstack([rgb, np.full_like(grey, 255)])
    turned = Image.fromarray(np.rot90(rgb))
    same = [
        encode(Image.fromarray(grey)),
        encode(Image.fromarray(rgb)),
        encode(Image.fromarray(rgb), dpi=(72, 72)),
        encode(Image.fromarray(opaque)),
        deep(grey[..., None].astype(np.uint16) * 257),
        deep(opaque.astype(np.uint16) * 257),
        encode(turned, exif=exif_of(6)),
    ]
    assert len({seen(one).digest for one in same}) == 1
    assert {(seen(one).height, seen(one).width) for one in same} == {(6, 8)}
    assert [seen(one).changes for one in same] == [()] * 6 + [(changes.TURNED,)]


def test_pictures_that_differ_in_alpha_or_low_bits_alone_are_two():
    alphas = [np.dstack([np.zeros((6, 8, 3), np.uint8), a]) for a in noise(2, 6, 8)]
    one, other = (seen(encode(Image.fromarray(alpha))) for alpha in alphas)
    assert one.digest != other.digest and one.changes == (changes.ON_WHITE,)
    low = [1600 + noise(6, 8, 1).astype(np.uint16) % 8 + more for more in (0, 8)]
    one, other = (seen(deep(values)) for values in low)
    assert one.digest != other.digest
    assert one.changes == (changes.REDUCED, changes.FEW_LEVELS_LEFT)


def test_the_colour_of_what_is_not_seen_is_no_difference():
    first, second = noise(2, 6, 8, 4)
    for pixels in (first, second):
        pixels[..., 3] = 0
        pixels[2:4, 2:4] = (10, 20, 30, 200)
    assert not np.array_equal(first, second)
    assert (
        seen(encode(Image.fromarray(first))).digest == seen(encode(Image.fromarray(second))).digest
    )


@pytest.mark.parametrize(
    ("encoded", "kinds"),
    [
        (encode(Image.fromarray(noise(6, 8, 3))), ()),
        (encode(Image.fromarray(noise(6, 8, 3)), "JPEG"), ()),
        (encode(Image.fromarray(noise(6, 8, 4)), "PNG"), (changes.ON_WHITE,)),
        (transparent("RGB"), (changes.ON_WHITE,)),
        (
            encode(Image.fromarray(np.dstack([np.full((6, 8, 3), 255, np.uint8), noise(6, 8)]))),
            (changes.ON_WHITE, changes.BLANK_ON_WHITE),
        ),
        (deep(noise(6, 8, 1, dtype=np.uint16)), (changes.REDUCED,)),
        (deep(noise(6, 8, 1).astype(np.uint16) << 8), ()),
        (encode(Image.new("CMYK", (8, 6)), "JPEG"), (changes.FROM_CMYK,)),
        (
            with_chunks(encode(Image.fromarray(noise(6, 8, 3))), (b"acTL", b"\0\0\0\2" + bytes(4))),
            (changes.FIRST_OF_MANY,),
        ),
    ],
)
def test_what_training_sees_otherwise_is_told_by_kind(encoded, kinds):
    assert seen(encoded).changes == kinds


def test_a_line_says_how_many_and_what_to_do():
    counts = {changes.TURNED: 1, changes.REDUCED: 1200, changes.FEW_LEVELS_LEFT: 200}
    turned, reduced = changes.changed_lines(counts, "manifest.json")
    assert turned == "1 picture turned upright, as EXIF's orientation has it (manifest.json)"
    assert reduced.startswith(
        "1,200 pictures of 16 bits reduced to the upper 8; 200 have 16 levels"
    )
    assert "4095" in reduced and "write 8 bits" in reduced


def picture_folder(root, layout):
    """Two classes; one picture of each class in train is turned, another is transparent."""
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for label in ("cat", "dog"):
            folder = root / layout.format(split=split, label=label)
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = random.integers(0, 256, (8, 6, 4), dtype=np.uint8)
                image = Image.fromarray(pixels if (split, i) == ("train", 1) else pixels[..., :3])
                options = {"exif": exif_of(6)} if (split, i) == ("train", 0) else {}
                (folder / f"{split}{i}.png").write_bytes(encode(image, **options))
    return root


@pytest.mark.parametrize("layout", ["{split}/{label}", "{label}"])
def test_a_conversion_counts_what_it_changes(tmp_path, capsys, layout):
    """On this machine, and on Beam, which class folders without splits go to."""
    source = picture_folder(tmp_path / "source", layout)
    root = tmp_path / "root"
    overrides = [f"dataset.archive={source}", f"root={root}", "dataset.validation_fraction=0.3"]
    config = load_config("scratch_cnn", overrides)
    for _ in range(2):  # what is there already is said again
        manifest = convert_dataset(config, root / "records")
        assert manifest.changed == {changes.TURNED: 2, changes.ON_WHITE: 2}
        lines = capsys.readouterr().err
        assert "2 pictures turned upright" in lines and "2 pictures with transparency" in lines
    written = json.loads((root / "records/manifest.json").read_text("utf-8"))
    assert written["changed"] == manifest.changed
