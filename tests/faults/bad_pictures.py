"""Picture files that a data set or a request may bring: odd ones, damaged ones, hostile ones."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from helpers.made_pictures import encoded

FINE, SKIPPED = "fine", "skipped"
EITHER = "either"  # a JPEG has no checksums: what a flipped bit does to it is the decoder's affair
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def bad_pictures() -> Iterator[tuple[str, str, bytes, str]]:
    """(fault, name, bytes, outcome)."""
    yield from _odd_but_fine()
    yield from _of_another_kind()
    yield from _damaged_png()
    yield from _damaged_jpeg()
    yield from _bombs()


def _odd_but_fine() -> Iterator[tuple[str, str, bytes, str]]:
    fault = "odd but whole picture"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield fault, f"PNG {mode}", _saved(picture.convert(mode), "PNG"), FINE
    for mode in ("L", "RGB", "CMYK", "YCbCr"):
        yield fault, f"JPEG {mode}", _saved(picture.convert(mode), "JPEG"), FINE
    sixteen = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    yield fault, "PNG 16 bit grey", _saved(sixteen, "PNG"), FINE
    yield fault, "PNG 16 bit colour", _png(3, 2, 16, 2, bytes(2 * (1 + 3 * 6))), FINE
    yield fault, "PNG palette, transparent", _saved(picture.quantize(4), "PNG"), FINE
    yield fault, "JPEG progressive", _saved(picture.convert("RGB"), "JPEG", progressive=True), FINE
    for kind in ("PNG", "JPEG"):
        for size in ((1, 1), (1, 500), (500, 1)):
            small = Image.new("RGB", size, (9, 200, 3))
            yield fault, f"{kind} {size[0]}x{size[1]}", _saved(small, kind), FINE
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 120, 240)]
    animated = _saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    yield fault, "PNG animated", animated, FINE
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    yield fault, "JPEG turned by EXIF", _saved(frames[0], "JPEG", exif=exif), FINE
    yield fault, "PNG with bytes behind its end", encoded(1) + b"and more", FINE
    text = _chunk(b"tEXt", b"Comment\0<script>alert(1)</script>")
    yield fault, "PNG with a script for a comment", _with_chunk(text), FINE


def _of_another_kind() -> Iterator[tuple[str, str, bytes, str]]:
    fault = "file that is no PNG or JPEG"
    picture = Image.new("RGB", (8, 8), (1, 2, 3))
    for kind in ("PPM", "ICO"):
        yield fault, f"{kind} called .png", _saved(picture, kind), SKIPPED
    made_png = "picture in another format"
    for number, kind in enumerate(("GIF", "BMP", "TIFF", "WEBP")):
        one = Image.new("RGB", (8, 8), (1, 2, 3 + number))
        yield made_png, f"{kind} called .png", _saved(one, kind), FINE
    frames = {"save_all": True, "append_images": [Image.new("RGB", (8, 8), (200, 0, 0))]}
    yield made_png, "GIF animated", _saved(picture, "GIF", **frames), FINE
    for name, data in (
        ("empty", b""),
        ("one byte", b"\x89"),
        ("zeros", bytes(5000)),
        ("text", b"not a picture\n" * 50),
        ("HTML", b"<!DOCTYPE html><html><script>fetch('//x')</script></html>"),
        (
            "SVG",
            b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        ),
        ("PDF", b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj"),
        ("ZIP", b"PK\x03\x04" + bytes(60)),
        ("ELF", b"\x7fELF" + bytes(60)),
        ("pickle", b"\x80\x02cos\nsystem\nU\x02idR."),
        ("PNG signature alone", _SIGNATURE),
        ("JPEG marker alone", b"\xff\xd8"),
        ("JPEG start and end", b"\xff\xd8\xff\xd9"),
    ):
        yield fault, name, data, SKIPPED
    for seed in range(6):
        yield fault, f"noise {seed}", random.Random(seed).randbytes(3000), SKIPPED


def _damaged_png() -> Iterator[tuple[str, str, bytes, str]]:
    whole = encoded(7, side=16)
    for cut in np.linspace(1, len(whole) - 13, 16).astype(int):  # behind that, all pixels are there
        yield "truncated PNG", f"to {cut} of {len(whole)} bytes", whole[:cut], SKIPPED
    start = whole.index(b"IDAT") + 4
    for seed in range(20):
        place = random.Random(seed).randrange(start, len(whole) - 16)
        yield "bit-flipped PNG", f"pixels, byte {place}", _flipped(whole, place, seed), SKIPPED
    for place in range(8, 33):  # the header's length, name, values and checksum
        yield "bit-flipped PNG", f"header, byte {place}", _flipped(whole, place, place), SKIPPED
    for name, header in (
        ("width 0", (0, 4, 8, 2)),
        ("height 0", (4, 0, 8, 2)),
        ("a negative width", (0xFFFFFFFF, 4, 8, 2)),
        ("7 bits", (4, 4, 7, 2)),
        ("an unknown colour type", (4, 4, 8, 5)),
        ("a palette that is missing", (4, 4, 8, 3)),
    ):
        yield "PNG with a wrong header", name, _png(*header, bytes(4 * 13)), SKIPPED
    yield "PNG with a wrong header", "too few pixels", _png(40, 40, 8, 2, bytes(50)), SKIPPED
    no_pixels = whole[: start - 8] + _chunk(b"IEND", b"")
    yield "PNG with a wrong header", "no pixels", no_pixels, SKIPPED


def _damaged_jpeg() -> Iterator[tuple[str, str, bytes, str]]:
    whole = encoded(8, "JPEG", side=16)
    for cut in np.linspace(2, len(whole) - 12, 16).astype(int):
        yield "truncated JPEG", f"to {cut} of {len(whole)} bytes", whole[:cut], SKIPPED
    for seed in range(24):
        place = random.Random(seed).randrange(2, len(whole) - 2)
        yield "bit-flipped JPEG", f"byte {place}", _flipped(whole, place, seed), EITHER
    frame = whole.index(b"\xff\xc0") + 5
    for name, sides in (("width 0", (16, 0)), ("height 0", (0, 16))):
        data = whole[:frame] + struct.pack(">HH", *sides) + whole[frame + 4 :]
        yield "JPEG with a wrong header", name, data, SKIPPED


def _bombs() -> Iterator[tuple[str, str, bytes, str]]:
    fault = "picture that would fill memory"
    for sides in ((20_000, 20_000), (2**31 - 1, 2**31 - 1), (2**26 + 1, 1), (1, 2**26 + 1)):
        yield fault, f"PNG header {sides}", _png(*sides, 8, 2, bytes(100)), SKIPPED
    zeros = _png(20_000, 20_000, 1, 0, bytes(20_000 * 2501))  # 50 kB that are true to their header
    yield fault, "PNG 20,000 x 20,000, whole", zeros, SKIPPED
    whole = encoded(8, "JPEG", side=16)
    frame = whole.index(b"\xff\xc0") + 5
    huge = whole[:frame] + struct.pack(">HH", 65_500, 65_500) + whole[frame + 4 :]
    yield fault, "JPEG header 65,500 x 65,500", huge, SKIPPED
    packed = zlib.compress(bytes(200_000_000), 9)
    yield fault, "PNG zTXt of 200 MB", _with_chunk(_chunk(b"zTXt", b"x\0\0" + packed)), EITHER
    yield fault, "PNG iCCP of 200 MB", _with_chunk(_chunk(b"iCCP", b"x\0\0" + packed)), EITHER
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")
    inflated = _SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)
    yield fault, "PNG 8 x 8 with pixels of 200 MB", inflated, EITHER
    fault = "picture that would take minutes"
    flat = _saved(Image.new("RGB", (2048, 2048), (90, 9, 9)), "JPEG", progressive=True)
    start, end = flat.rindex(b"\xff\xda"), flat.rindex(b"\xff\xd9")
    scans = flat[:start] + flat[start:end] * 20_000 + flat[end:]
    yield fault, "JPEG 2048 x 2048 of 20,000 scans", scans, SKIPPED
    text = _chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(7_000_000), 9))
    yield fault, "PNG with 900 zTXt of 7 MB", _with_chunk(text * 900), SKIPPED


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _flipped(data: bytes, place: int, seed: int) -> bytes:
    bit = 1 << random.Random(seed).randrange(8)
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def _png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return _SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)


def _with_chunk(chunk: bytes) -> bytes:
    """A whole picture with a further chunk behind its header."""
    whole = encoded(9)
    return whole[:33] + chunk + whole[33:]
