"""Makes the folders of docs/first-hour.md: 300 pictures as people have them, and four to ask about.

    PYTHONPATH=tests python -m helpers.first_hour my-pictures new --archive cifar-10-python.tar.gz

Without an archive the pictures are the embedded digits: all steps are the same, the answers not.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from inception_finetune.components.dataset.archive import read_archive
from inception_finetune.components.dataset.bad_examples import Policy
from inception_finetune.components.dataset.digits import write_digits_archive
from inception_finetune.components.dataset.source import BrowsableSource

CLASSES: Final = (0, 3, 8)  # airplane, cat, ship of CIFAR-10
PICTURES: Final = 100  # of each class
_FORMS: Final = ("PNG", "JPEG", "WEBP")  # in turn
_CUT: Final = 400  # bytes of the picture that is cut off
_ORIENTATION, _TURNED = 0x0112, 6  # EXIF: to be turned clockwise by 90 degrees


def make_pictures(archive: Path, pictures: Path, new: Path) -> None:
    """Writes class folders, one picture cut off and one turned, and pictures of the test batch.

    Args:
      archive: in CIFAR-10's layout.
      pictures: receives the class folders, and what systems leave there.
      new: receives four pictures that are not in `pictures`.
    """
    source = read_archive(archive, Policy("skip", 1 << 31, "allow"))
    for label in CLASSES:
        folder = pictures / source.label_names[label]
        folder.mkdir(parents=True)
        images = _images(source, "train", label, PICTURES)
        if label == CLASSES[1]:
            _add_a_phones(folder, images)
            images = images[:-1]  # the turned copy is the last one
        for number, image in enumerate(images):
            form = _FORMS[number % len(_FORMS)]
            image.save(folder / f"{number:03d}.{form.lower()}", form, quality=95, lossless=True)
    (pictures / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (pictures / source.label_names[CLASSES[0]] / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    new.mkdir(parents=True)
    for number, image in enumerate(_images(source, "test", CLASSES[1], 3)):
        image.save(new / f"{source.label_names[CLASSES[1]]}{number}.png")
    [ship] = _images(source, "test", CLASSES[2], 1)
    ship.save(new / f"{source.label_names[CLASSES[2]]}.jpg", quality=95)


def _images(source: BrowsableSource, split: str, label: int, count: int) -> list[Image.Image]:
    chosen = np.flatnonzero((source.splits == split) & (source.labels == label))[:count]
    return [Image.fromarray(source.pixels(int(index))) for index in chosen]


def _add_a_phones(folder: Path, images: list[Image.Image]) -> None:
    """Writes a copy of a picture as a phone turns it, and one that is cut off."""
    exif = Image.Exif()
    exif[_ORIENTATION] = _TURNED
    turned = images[0].transpose(Image.Transpose.ROTATE_90)
    turned.save(folder / "IMG_0042.JPG", "JPEG", quality=95, exif=exif)
    cut = folder / "IMG_0007.JPG"
    images[-1].save(cut, "JPEG", quality=95)
    cut.write_bytes(cut.read_bytes()[:_CUT])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("pictures", type=Path, help="a new folder")
    parser.add_argument("new", type=Path, help="another new folder")
    parser.add_argument("--archive", type=Path, help="in CIFAR-10's layout; default: digits")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        archive = given.archive or write_digits_archive(Path(temporary) / "digits.tar.gz")
        make_pictures(archive, given.pictures, given.new)


if __name__ == "__main__":
    main()
