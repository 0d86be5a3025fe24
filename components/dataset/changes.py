"""Ways in which training and the served model see an image differently from its file."""

from collections.abc import Iterator, Mapping
from typing import Final

TURNED: Final = "turned upright"
ON_WHITE: Final = "on white"
BLANK_ON_WHITE: Final = "of one colour on white"
REDUCED: Final = "16 bits to 8"
FEW_LEVELS_LEFT: Final = "16 bits to 16 levels or fewer"
FIRST_OF_MANY: Final = "first picture of an animation"
FROM_CMYK: Final = "CMYK to RGB"
_AS_PNG: Final = " as PNG"

FEW_LEVELS: Final = 16  # what stays of 12 bits: 4095 is 15 in the upper 8 of 16 bits


def as_png(name: str) -> str:
    """Returns the kind of a change: a picture of the format `name` is stored as PNG."""
    return f"{name}{_AS_PNG}"


def changed_lines(changed: Mapping[str, int], listed_in: str) -> Iterator[str]:
    """Iterates over a run's messages about changed images, one for each kind that occurs.

    Args:
      changed: number of images by the kinds above.
      listed_in: the file that has these counts.
    """

    def line(kind: str, fact: str) -> Iterator[str]:
        if count := changed.get(kind):
            yield f"{count:,} {'picture' if count == 1 else 'pictures'} {fact} ({listed_in})"

    for kind, count in changed.items():
        if kind.endswith(_AS_PNG):
            pictures = "picture" if count == 1 else "pictures"
            name = kind.removesuffix(_AS_PNG)
            yield f"{count:,} {name} {pictures} stored as PNG, without loss ({listed_in})"
    blank = changed.get(BLANK_ON_WHITE, 0)
    few = changed.get(FEW_LEVELS_LEFT, 0)
    yield from line(TURNED, "turned upright, as EXIF's orientation has it")
    yield from line(
        ON_WHITE,
        "with transparency laid on white"
        + (f"; {blank:,} are of one colour then: give them another ground" if blank else ""),
    )
    yield from line(
        REDUCED,
        "of 16 bits reduced to the upper 8"
        + (
            f"; {few:,} have {FEW_LEVELS} levels or fewer left, as those that never exceed 4095 "
            "(12 bits) do: spread their values over 0 to 65535, or write 8 bits"
            if few
            else ""
        ),
    )
    yield from line(FIRST_OF_MANY, "animated or of several pages: the first one of each is taken")
    yield from line(FROM_CMYK, "converted from CMYK to RGB, without a colour profile")
