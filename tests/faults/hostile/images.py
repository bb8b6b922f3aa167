"""Hostile photographs and masks."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.faults.hostile.base import CANARY, Kind, damaged, noise, truncated
from wsss.data import DataDescription, check_mask, save_mask
from wsss.photographs import image_size, read_image

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "gif": "GIF", "bmp": "BMP"}
SIZE = (37, 23)  # width, height
BEGINNINGS = {
    "jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "webp": b"RIFF\x00\x10\x00\x00WEBPVP8 ",
    "tif": b"II*\x00\x08\x00\x00\x00",
    "gif": b"GIF89a",
    "bmp": b"BM",
}
CLASSES = ("cat", "dog", "traffic light")


def picture(rng: Random, size: tuple[int, int] = SIZE) -> Image.Image:
    """Smooth colours with some noise: every part of a codec has something to do."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    coarse = Image.fromarray(numbers.integers(0, 256, (4, 4, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    array = np.asarray(coarse).astype(int) + numbers.integers(-9, 9, (*size[::-1], 3))
    return Image.fromarray(array.clip(0, 255).astype(np.uint8))


def encoded(rng: Random, suffix: str) -> bytes:
    """A photograph of a format, in one of the ways the format has."""
    image, buffer = picture(rng), io.BytesIO()
    options = {
        "jpg": [{}, {"progressive": True}, {"quality": 95, "subsampling": 0}, {"exif": _exif(rng)}],
        "png": [{}, {"optimize": True}, {"exif": _exif(rng)}],
        "webp": [{}, {"lossless": True}, {"exif": _exif(rng)}],
        "tif": [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}, {"compression": "jpeg"}],
        "gif": [{}, {"save_all": True, "append_images": [picture(rng)]}],
        "bmp": [{}],
    }[suffix]
    modes = {"jpg": ["RGB", "L", "CMYK"], "png": ["RGB", "L", "P", "RGBA", "1"], "webp": ["RGB", "RGBA"]}
    modes |= {"tif": ["RGB"], "gif": ["P"], "bmp": ["RGB", "L", "P"]}
    image.convert(rng.choice(modes[suffix])).save(buffer, FORMATS[suffix], **rng.choice(options))
    return buffer.getvalue()


def _exif(rng: Random) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = rng.choice([*range(10), 99, 65535])
    exif[0x010F] = "camera"
    return exif


def _file(rng: Random, folder: Path, change: str) -> Path:
    suffix = rng.choice([*FORMATS])
    content = {
        "cut": lambda: truncated(rng, encoded(rng, suffix)),
        "changed": lambda: damaged(rng, encoded(rng, suffix)),
        "noise": lambda: noise(rng, BEGINNINGS[suffix] if rng.random() < 0.7 else b""),
    }[change]()
    path = folder / f"photo.{suffix}"
    path.write_bytes(content)
    return path


def read_photograph(path: Path) -> None:
    """As training, prediction and explanation do; the size told before must be the size decoded."""
    size, image = image_size(path), read_image(path)
    assert image.mode == "RGB" and image.size == size and min(size) > 0, (image, size)
    assert np.asarray(image).shape == (*size[::-1], 3)


# Headers that promise far more pixels than the file holds.


def png(width: int, height: int, depth: int, color: int, data: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of any header, and packed rows."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", data), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@cache
def _swelling() -> bytes:
    return zlib.compress(bytes(100_000_000), 9)


def _bombs(rng: Random) -> dict[str, bytes]:
    side = rng.choice([60_000, 65_535, 30_000])
    bmp = (
        b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    gif = (
        b"GIF89a"
        + struct.pack("<HHBBB", side, side, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, side, side, 0)
        + b"\x08\x02"
    )
    tags = [
        (256, 4, 1, side),
        (257, 4, 1, side),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
    ]
    tags += [(278, 4, 1, side), (279, 4, 1, side)]
    tiff = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags)
    jpeg = bytearray(encoded(Random(0), "jpg"))
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
    jpeg[at + 5 : at + 9] = struct.pack(">HH", side, side)
    text, profile = (b"zTXt", b"comment\0\0" + _swelling()), (b"iCCP", b"icc\0\0" + _swelling())
    return {
        "side.png": png(side, side, 8, 2, zlib.compress(bytes(1000))),
        "side.bmp": bmp,
        "side.gif": gif,
        "side.tif": tiff + bytes(4),
        "side.jpg": bytes(jpeg),
        "text.png": png(8, 8, 8, 0, zlib.compress(bytes(72)), text),
        "profile.png": png(8, 8, 8, 0, zlib.compress(bytes(72)), profile),
    }


def _bomb(rng: Random, folder: Path) -> Path:
    name, content = rng.choice([*_bombs(rng).items()])
    (folder / name).write_bytes(content)
    return folder / name


def _vast(rng: Random, folder: Path) -> Path:
    """Whole files of a few hundred kB that decode to a size at or below the limit of Pillow, of any mode."""
    side = rng.choice([9_400, 13_000])
    depth, color, cells = rng.choice([(8, 2, 3), (8, 6, 4), (16, 0, 2), (8, 4, 2), (16, 6, 8), (1, 0, 1 / 8)])
    packer, rows = zlib.compressobj(1), bytes(1 + int(-(-side * cells // 1)))
    data = b"".join(packer.compress(rows) for _ in range(side)) + packer.flush()
    path = folder / "vast.png"
    path.write_bytes(png(side, side, depth, color, data))
    return path


def _odd(rng: Random, folder: Path) -> Path:
    """Unusual, mostly right, photographs."""
    image = picture(rng)
    deep = Image.fromarray(np.arange(23 * 37, dtype=np.uint16).reshape(23, 37) * 77)
    frames = [picture(rng) for _ in range(3)]
    orient = _exif(rng)
    odd = {
        "one.png": (Image.new("RGB", (1, 1), "red"), {}),
        "one.jpg": (Image.new("L", (1, 1), 9), {}),
        "wide.png": (picture(rng, (20_000, 3)), {}),
        "tall.jpg": (picture(rng, (3, 20_000)), {}),
        "cmyk.jpg": (image.convert("CMYK"), {}),
        "cmyk.tif": (image.convert("CMYK"), {}),
        "lab.tif": (image.convert("RGB").convert("LAB"), {}),
        "ycbcr.tif": (image.convert("YCbCr"), {}),
        "deep.png": (deep, {}),
        "float.tif": (Image.fromarray(np.ones((4, 4), np.float32)), {}),
        "many.gif": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "many.webp": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "many.tif": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "many.png": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "turned.jpg": (image, {"exif": orient}),
        "turned.png": (image, {"exif": orient}),
        "turned.tif": (image, {"exif": orient}),
        "turned.webp": (image, {"exif": orient}),
        "profile.jpg": (image, {"icc_profile": rng.randbytes(rng.choice([0, 10, 3000]))}),
        "profile.png": (image, {"icc_profile": rng.randbytes(100)}),
        "exif.jpg": (image, {"exif": b"Exif\0\0" + rng.randbytes(200)}),
        "exif.png": (image, {"exif": b"Exif\0\0II*\0" + rng.randbytes(100)}),
        "exif.webp": (image, {"exif": b"II*\0\x08\0\0\0" + rng.randbytes(100)}),
        "transparent.png": (image.convert("P"), {"transparency": 3}),
        "transparent_grey.png": (image.convert("L"), {"transparency": 3}),
        "la.png": (image.convert("LA"), {}),
    }
    other = {"empty.jpg": b"", "text.png": b"hello\n", "code.jpg": postscript(), "html.gif": b"<html><script>"}
    name = rng.choice([*odd, *other])
    if name in other:
        (folder / name).write_bytes(other[name])
    else:
        odd[name][0].save(folder / name, **odd[name][1])
    return folder / name


def postscript() -> bytes:
    """A program, which Pillow would hand to Ghostscript."""
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n" + (
        f"({CANARY}) (w) file closefile\nshowpage\n%%EOF\n".encode()
    )


# Masks.


def _mask(rng: Random, folder: Path) -> Path:
    """Label maps as people save them by mistake, and right ones."""
    labels = np.random.default_rng(rng.randrange(2**32)).choice(np.array([0, 1, 3, 255], np.uint8), SIZE[::-1])
    grey, name = (
        Image.fromarray(labels),
        rng.choice(["P", "L", "RGBA", "LA", "RGB", "1", "I;16", "out", "size", "JPEG", "TIFF"]),
    )
    path = folder / "mask.png"
    if name == "P":
        grey.putpalette(bytes(rng.randrange(256) for _ in range(3 * rng.choice([1, 4, 256]))))
        grey.save(path, **rng.choice([{}, {"transparency": 0}]))
    elif name == "I;16":
        Image.fromarray(labels.astype(np.uint16) * rng.choice([1, 257])).save(path)
    elif name == "out":
        Image.fromarray(np.where(labels == 3, rng.randint(4, 254), labels).astype(np.uint8)).save(path)
    elif name == "size":
        grey.resize((rng.randint(1, 40), rng.randint(1, 40))).save(path)
    elif name in ("JPEG", "TIFF"):
        grey.save(path, name)
    else:
        grey.convert(name).save(path)
    return path


def right_mask(folder: Path) -> Path:
    """A palette PNG of labels."""
    labels = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE[::-1]) % 4
    save_mask(folder / "mask.png", labels)
    return folder / "mask.png"


def _shallow_mask(rng: Random, folder: Path) -> Path:
    """Grey of 1, 2 or 4 bits, whose values decoders spread over 0 … 255."""
    depth = rng.choice([1, 2, 4])
    row = b"\0" + rng.randbytes(-(-SIZE[0] * depth // 8))
    (folder / "mask.png").write_bytes(png(*SIZE, depth, 0, zlib.compress(row * SIZE[1])))
    return folder / "mask.png"


def _damaged_mask(rng: Random, folder: Path) -> Path:
    path = _mask(rng, folder)
    path.write_bytes(damaged(rng, path.read_bytes()))
    return path


def read_labels_of_mask(path: Path) -> None:
    """As every step does that looks at masks."""
    mask = check_mask(DataDescription("toy", path.parent, CLASSES), path, SIZE)
    assert mask.dtype == np.uint8 and mask.shape == SIZE[::-1]
    assert {*np.unique(mask).tolist()} <= {0, 1, 2, 3, 255}


def refuse_mask(path: Path) -> None:
    """What these values mean nobody can tell."""
    read_labels_of_mask(path)
    raise AssertionError("was taken for a mask")


KINDS = [
    Kind("photograph, cut at every 5 %", lambda rng, folder: _file(rng, folder, "cut"), read_photograph, 3),
    Kind("photograph, bytes changed", lambda rng, folder: _file(rng, folder, "changed"), read_photograph, 4),
    Kind("photograph, random bytes", lambda rng, folder: _file(rng, folder, "noise"), read_photograph, 2),
    Kind("photograph, unusual", _odd, read_photograph, 2),
    Kind("photograph, bomb of a header", _bomb, read_photograph),
    Kind("photograph, vast and whole", _vast, read_photograph, 0.1),
    Kind("mask, odd", _mask, read_labels_of_mask, 2),
    Kind("mask, of a few bits", _shallow_mask, refuse_mask),
    Kind("mask, damaged", _damaged_mask, read_labels_of_mask, 2),
]
