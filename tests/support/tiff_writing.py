"""Samples, what a person sees of them, and TIFFs that hold them, by tifffile or by hand."""

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

HEIGHT, WIDTH = 40, 53

Array = NDArray[Any]


def light(channels: int, height: int = HEIGHT, width: int = WIDTH) -> Array:
    """Return a smooth picture [height, width, channels] of 0 to 1, which looks another way in each of its mirrors."""
    down, across = np.mgrid[0:height, 0:width].astype(float)
    down, across = down / (height - 1), across / (width - 1)
    kinds = (across, down, 1 - across * down, (across + down) / 2, 1 - across, across * across)
    return np.dstack(kinds[:channels])


def counted(bits: int, channels: int) -> Array:
    """Return the picture as whole numbers of so many bits."""
    dtype = f"u{next(size for size in (1, 2, 4, 8) if bits <= 8 * size)}"
    return np.floor(light(channels) * float(2**bits - 1) + (0.5 if bits <= 32 else 0)).astype(dtype)


def shown(numbers: Array, white: float) -> Array:
    """Return 0 to 255 for 0 to white, rounded."""
    return np.floor(np.clip(numbers.astype(float) / white, 0, 1) * 255 + 0.5)


def rgb(grey_or_colours: Array) -> Array:
    """Return three channels."""
    return np.repeat(grey_or_colours[..., :1], 3, axis=2) if grey_or_colours.shape[2] == 1 else grey_or_colours[..., :3]


def on_white(colours: Array, alpha: Array) -> Array:
    """Return what is seen of colours of 0 to 255 through alpha of 0 to 1."""
    return np.asarray(rgb(colours) * alpha + 255 * (1 - alpha))


def of_cmyk(ink: Array) -> Array:
    """Return what is seen of inks of 0 to 1."""
    return np.asarray(255 * (1 - ink[..., :3]) * (1 - ink[..., 3:4]))


def of_ycbcr(codes: Array) -> Array:
    """Return RGB as JFIF has it."""
    luma, blue, red = codes[..., 0], codes[..., 1] - 128.0, codes[..., 2] - 128.0
    seen = np.dstack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue])
    return np.clip(seen, 0, 255)


def of_lab(lightness: Array, a: Array, b: Array) -> Array:
    """Return sRGB of CIE L*a*b* under D50, by the formulas of the two standards."""
    y = (lightness + 16) / 116
    roots = np.dstack([y + a / 500, y, y - b / 200])
    xyz = np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29)) * (0.9642, 1.0, 0.8249)
    matrix = np.array(
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
    )
    linear = np.clip(xyz @ matrix.T, 0, 1)
    return np.asarray(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def written(samples: Array, **options: Any) -> bytes:
    """Return a file by tifffile."""
    file = io.BytesIO()
    if not {"imagej", "ome"} & options.keys():
        options["metadata"] = None
    tifffile.imwrite(file, np.ascontiguousarray(samples), **options)
    return file.getvalue()


def planes(samples: Array) -> Array:
    """Return [channels, height, width]."""
    return np.ascontiguousarray(np.moveaxis(samples, 2, 0))


# tag: (type, values); bytes are written as they are.
Tags = dict[int, tuple[int, list[int] | bytes]]


def handmade(
    tags: Tags, segments: Sequence[bytes | bytearray], order: str = "<", *, drop: tuple[int, ...] = ()
) -> bytes:
    """Return a file of one directory behind its segments."""
    return of_pages([(tags, segments)], order, drop=drop)


def of_pages(
    pages: Sequence[tuple[Tags, Sequence[bytes | bytearray]]], order: str = "<", *, drop: tuple[int, ...] = ()
) -> bytes:
    """Return a file of several directories, each behind its segments."""
    body = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    following = 4
    for tags, segments in pages:
        places = []
        for segment in segments:
            places.append(len(body))
            body += segment + bytes(len(segment) % 2)
        offsets, counts = (324, 325) if 322 in tags else (273, 279)
        all_tags: Tags = {offsets: (4, places), counts: (4, [len(segment) for segment in segments])} | tags
        entries = bytearray()
        for tag in sorted(set(all_tags) - set(drop)):
            kind, values = all_tags[tag]
            letter = {1: "B", 3: "H", 4: "I", 5: "I", 7: "B"}[kind]
            data = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{letter}", *values)
            count = len(data) // {1: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind]
            if len(data) > 4:
                place = len(body)
                body += data + bytes(len(data) % 2)
                data = struct.pack(order + "I", place)
            entries += struct.pack(order + "HHI", tag, kind, count) + data.ljust(4, b"\0")
        struct.pack_into(order + "I", body, following, len(body))
        body += struct.pack(order + "H", len(entries) // 12) + entries
        following = len(body)
        body += bytes(4)
    return bytes(body)


def plain(samples: Array, photometric: int, **more: tuple[int, list[int] | bytes]) -> Tags:
    """Return the tags of 8-bit samples in one strip; further ones are named t and their number."""
    height, width, channels = samples.shape
    tags: Tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [8] * channels), 259: (3, [1])}
    tags |= {262: (3, [photometric]), 277: (3, [channels]), 278: (4, [height])}
    return tags | {int(name[1:]): value for name, value in more.items()}
