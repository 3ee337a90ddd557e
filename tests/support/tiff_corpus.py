"""TIFFs of every kind that tifffile or tiff_writing can write, each with the pixels that a person sees.

    python -m tests.support.tiff_corpus    counts what this service and Pillow make of them

The pixels are computed from the samples that were written, never from a file that was decoded.
"""

import io
import itertools
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from service.errors import GazeError
from service.images.decode import ImageLimits, decode
from service.images.picture import TO_UPRIGHT, OrientedImage
from tests.support.tiff_writing import (
    HEIGHT,
    WIDTH,
    Array,
    counted,
    handmade,
    light,
    of_cmyk,
    of_lab,
    of_ycbcr,
    on_white,
    plain,
    planes,
    rgb,
    shown,
    written,
)

LIMITS = ImageLimits(max_bytes=1024**2, max_pixels=1_000_000)


@dataclass(frozen=True)
class Case:
    """A file, the RGB that a person sees [height, width, 3], and by how much of 255 it may differ."""

    name: str
    file: bytes
    seen: Array
    tolerance: float


LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "MM": {"byteorder": ">", "rowsperstrip": 7},
    "MM, tiles": {"byteorder": ">", "tile": (16, 16)},
    "BigTIFF": {"bigtiff": True, "rowsperstrip": 7},
    "MM, BigTIFF, tiles": {"bigtiff": True, "byteorder": ">", "tile": (32, 16)},
}
LOSSLESS = ("lzw", "zlib", "packbits", "zstd", "lzma")
PACKED = {"lzw": 5, "zlib": 8, "packbits": 32_773, "zstd": 50_000, "lzma": 34_925}


def depths() -> Iterator[Case]:
    """Grey and RGB of every depth of whole numbers, in every layout, together and in planes."""
    for bits, layout in itertools.product((1, 2, 4, 6, 8, 10, 12, 14, 16, 32), LAYOUTS):
        for photometric, channels in (("minisblack", 1), ("miniswhite", 1), ("rgb", 3)):
            if bits < 8 and channels == 3:
                continue
            samples = counted(bits, channels)
            seen = rgb(shown(samples, 2**bits - 1))
            seen = 255 - seen if photometric == "miniswhite" else seen
            options = LAYOUTS[layout] | {"photometric": photometric, "bitspersample": bits}
            name = f"{photometric}, {bits} bits, {layout}"
            if bits == 1:
                samples = samples.astype(bool)
            data = samples[..., 0] if channels == 1 else samples
            if bits in (10, 12, 14) and "MM" in layout:  # which tifffile writes so that it does not read them itself
                tags = plain(samples, ("miniswhite", "minisblack", "rgb").index(photometric)) | {
                    258: (3, [bits] * channels)
                }
                packed = imagecodecs.packints_encode(samples.reshape(HEIGHT, -1), bits, runlen=WIDTH * channels)
                yield Case(name, handmade(tags, [packed], ">"), seen, 0)
                continue
            yield Case(name, written(data, **options), seen, 0)
            if channels == 3:
                yield Case(f"{name}, planes", written(planes(samples), planarconfig="separate", **options), seen, 0)


def numbers() -> Iterator[Case]:
    """Grey and RGB of floats and of whole numbers with a sign."""
    for dtype, layout in itertools.product(("f2", "f4", "f8"), LAYOUTS):
        for photometric, channels in (("minisblack", 1), ("miniswhite", 1), ("rgb", 3)):
            samples = light(channels).astype(dtype)
            seen = rgb(shown(samples, 1.0))
            seen = 255 - seen if photometric == "miniswhite" else seen
            options = LAYOUTS[layout] | {"photometric": photometric}
            data = samples[..., 0] if channels == 1 else samples
            yield Case(f"{photometric}, {dtype}, {layout}", written(data, **options), seen, 1)
            if channels == 3:
                file = written(planes(samples), planarconfig="separate", **options)
                yield Case(f"{photometric}, {dtype}, {layout}, planes", file, seen, 1)
            for compression in LOSSLESS:
                if layout in ("strips", "MM, tiles") and compression != "packbits" and channels == 3:
                    file = written(data, predictor=3, compression=compression, **options)
                    yield Case(f"rgb, {dtype}, {layout}, {compression}, predictor 3", file, seen, 1)
    for white in (255.0, 65535.0):
        samples = (light(3) * white).astype("f4")
        yield Case(f"floats up to {white}", written(samples, photometric="rgb"), shown(samples, white), 1)
    bright = light(3).astype("f4")
    bright[0, 0] = 7.5
    yield Case("floats, one above white", written(bright, photometric="rgb"), shown(bright, 1.0), 1)
    for bits in (8, 16):
        samples = np.floor(light(1) * (2 ** (bits - 1) - 1) + 0.5).astype(f"i{bits // 8}")
        seen = rgb(shown(samples, 2 ** (bits - 1) - 1))
        for order in "<>":
            file = written(samples[..., 0], photometric="minisblack", byteorder=order)
            yield Case(f"signed, {bits} bits, {order}", file, seen, 0)
    for kind, white in itertools.product(("i4", "u4", "i8", "u8"), (255, 65535, 2_000_000_000)):
        samples = np.floor(light(3) * white).astype(kind)
        yield Case(f"{kind} up to {white}", written(samples, photometric="rgb"), shown(samples, white), 1)


def compressions() -> Iterator[Case]:
    """Every lossless compression with and without the predictor, by depth, layout and planes."""
    kinds = itertools.product(LOSSLESS, (8, 16, 32), (None, 2), ("strips", "tiles", "MM", "MM, BigTIFF, tiles"))
    for compression, bits, predictor, layout in kinds:
        if predictor and compression == "packbits":
            continue
        options = LAYOUTS[layout] | {"compression": compression, "predictor": predictor, "photometric": "rgb"}
        samples = counted(bits, 3)
        seen = shown(samples, 2**bits - 1)
        name = f"{compression}, predictor {predictor}, {bits} bits, {layout}"
        yield Case(name, written(samples, **options), seen, 0)
        yield Case(f"{name}, planes", written(planes(samples), planarconfig="separate", **options), seen, 0)
    for (compression, number), bits in itertools.product(PACKED.items(), (1, 4, 12)):
        samples = counted(bits, 1)
        strips = [samples[start : start + 9, :, 0] for start in range(0, HEIGHT, 9)]
        pack = getattr(imagecodecs, f"{compression}_encode")
        segments = [pack(imagecodecs.packints_encode(strip, bits, runlen=WIDTH)) for strip in strips]
        tags = plain(samples, 1) | {258: (3, [bits]), 259: (3, [number]), 278: (4, [9])}
        yield Case(f"{compression}, {bits} bits", handmade(tags, segments), rgb(shown(samples, 2**bits - 1)), 0)
    for name, pillow in (("CCITT RLE", "tiff_ccitt"), ("CCITT 3", "group3"), ("CCITT 4", "group4")):
        bits_seen = light(3)[..., 2] > 0.6
        for rows in (HEIGHT, 7):
            file = io.BytesIO()
            Image.fromarray(bits_seen).save(file, "TIFF", compression=pillow, tiffinfo={278: rows})
            yield Case(f"{name}, strips of {rows}", file.getvalue(), rgb(bits_seen[..., None] * 255.0), 0)


def image_codecs() -> Iterator[Case]:
    """JPEG, JPEG 2000, WebP, and those that are refused."""
    colours, grey, ink = counted(8, 3), counted(8, 1), counted(8, 4)
    for layout, chroma in itertools.product(("one strip", "tiles", "MM, BigTIFF, tiles"), ((1, 1), (2, 1), (2, 2))):
        options = LAYOUTS[layout] | {"compression": "jpeg", "compressionargs": {"level": 95}}
        # Of whole tiles: tifffile fills up those at the edge with black, which shared chroma carries into the picture.
        fitting = np.floor(light(3, 64, 64) * 255 + 0.5).astype(np.uint8)
        file = written(fitting, photometric="rgb", subsampling=chroma, **options)
        yield Case(f"JPEG, YCbCr, {chroma}, {layout}", file, fitting.astype(float), 10)
    for layout in ("one strip", "strips", "tiles"):
        options = LAYOUTS[layout] | {"compression": "jpeg", "compressionargs": {"level": 95}}
        if layout == "strips":
            options["rowsperstrip"] = 8
        plain_rgb = options | {"compressionargs": {"level": 95, "outcolorspace": "rgb"}, "subsampling": (1, 1)}
        yield Case(f"JPEG, RGB, {layout}", written(colours, photometric="rgb", **plain_rgb), colours.astype(float), 10)
        for photometric in ("minisblack", "miniswhite"):
            file = written(grey[..., 0], photometric=photometric, **options)
            seen = rgb(grey.astype(float))
            yield Case(f"JPEG, {photometric}, {layout}", file, seen if photometric == "minisblack" else 255 - seen, 10)
        yield Case(f"JPEG, CMYK, {layout}", written(ink, photometric="separated", **options), of_cmyk(ink / 255), 12)
    segments = [
        imagecodecs.jpeg8_encode(plane[start : start + 8], 95)
        for plane in planes(colours)
        for start in range(0, HEIGHT, 8)
    ]
    tags = plain(colours, 2, t284=(3, [2])) | {259: (3, [7]), 278: (4, [8])}
    yield Case("JPEG, RGB, planes", handmade(tags, segments), colours.astype(float), 10)
    four = imagecodecs.jpeg8_encode(ink, 95, colorspace="CMYK", outcolorspace="CMYK")
    file = handmade(plain(ink, 2, t338=(3, [2])) | {259: (3, [7])}, [four])
    yield Case("JPEG, RGBA", file, on_white(colours.astype(float), light(4)[..., 3:]), 12)
    twelve = counted(12, 1)
    file = written(twelve[..., 0], photometric="minisblack", compression="jpeg", bitspersample=12)
    yield Case("JPEG, 12 bits", file, rgb(shown(twelve, 4095)), 10)
    for layout, bits, codec in itertools.product(("one strip", "tiles"), (8, 16), ("jpeg2000", 33_005)):
        options = LAYOUTS[layout] | {"compression": codec, "compressionargs": {"level": 0, "reversible": True}}
        for photometric, channels in (("minisblack", 1), ("rgb", 3)):
            samples = counted(bits, channels)
            data = samples[..., 0] if channels == 1 else samples
            seen = rgb(shown(samples, 2**bits - 1))
            name = f"{codec}, {photometric}, {bits} bits, {layout}"
            yield Case(name, written(data, photometric=photometric, **options), seen, 0)
    for layout in ("one strip", "tiles"):
        options = LAYOUTS[layout] | {"compression": "webp", "compressionargs": {"lossless": True}, "photometric": "rgb"}
        yield Case(f"WebP, {layout}", written(colours, **options), colours.astype(float), 0)
        file = written(counted(8, 4), extrasamples=["unassalpha"], **options)
        yield Case(f"WebP, RGBA, {layout}", file, on_white(colours.astype(float), light(4)[..., 3:]), 2)
    for codec in ("jpegxl", "jpegxr", "png", "lerc", 50_002):
        yield Case(f"{codec}", written(colours, photometric="rgb", compression=codec), colours.astype(float), 10)


def palettes() -> Iterator[Case]:
    """Palettes of every depth whose colours have 16 bits, as they should, and 8 bits, as some have."""
    for bits, wide, layout in itertools.product((1, 2, 4, 8, 16), (True, False), LAYOUTS):
        indices = counted(bits, 1)[..., 0]
        count = np.arange(2**bits)
        colours = np.vstack([(count * 37 + 9) % 256, (count * 91 + 200) % 256, 255 - count % 256])
        options = LAYOUTS[layout] | {"photometric": "palette", "bitspersample": bits}
        options["colormap"] = (colours * (257 if wide else 1)).astype(np.uint16)
        name = f"palette of {16 if wide else 8} bits, {bits} bits, {layout}"
        try:
            file = written(indices, **options)
        except ValueError:  # tifffile writes palettes of 8 and 16 bits only
            if layout != "one strip":
                continue
            packed = imagecodecs.packints_encode(indices, bits, runlen=WIDTH)
            tags = plain(indices[..., None], 3) | {258: (3, [bits])}
            tags[320] = (3, [int(colour) for colour in options["colormap"].ravel()])
            file = handmade(tags, [packed])
        yield Case(name, file, colours.T[indices].astype(float), 0)


def alphas() -> Iterator[Case]:
    """Grey, RGB and CMYK with further samples, known and unknown."""
    for bits, layout in itertools.product((8, 16), LAYOUTS):
        white = 2**bits - 1
        for photometric, channels in (("minisblack", 1), ("miniswhite", 1), ("rgb", 3), ("separated", 4)):
            samples = counted(bits, channels + 1)
            alpha = samples[..., -1:] / white
            plain_seen = rgb(shown(samples[..., :channels], white))
            if photometric == "miniswhite":
                plain_seen = 255 - plain_seen
            if photometric == "separated":
                plain_seen = of_cmyk(samples[..., :4] / white)
            multiplied = samples.copy()
            lights = white - samples[..., :1] if photometric == "miniswhite" else samples[..., :channels]
            dimmed = np.floor(lights * alpha + 0.5).astype(samples.dtype)
            multiplied[..., :channels] = white - dimmed if photometric == "miniswhite" else dimmed
            options = LAYOUTS[layout] | {"photometric": photometric}
            name = f"{photometric}, {bits} bits, {layout}"
            seen = on_white(plain_seen, alpha)
            if photometric == "separated":
                seen = of_cmyk(samples[..., :4] / white * alpha)
            for kind, data, expected in (
                ("unassalpha", samples, seen),
                ("assocalpha", multiplied, seen),
                ("unspecified", samples, plain_seen),
            ):
                file = written(data, extrasamples=[kind], planarconfig="contig", **options)
                yield Case(f"{name}, {kind}", file, expected, 3)
                file = written(planes(data), extrasamples=[kind], planarconfig="separate", **options)
                yield Case(f"{name}, {kind}, planes", file, expected, 3)
    for bits in (8, 16):
        samples = counted(bits, 6)
        seen = shown(samples[..., :3], 2**bits - 1)
        for kinds in (("unspecified",) * 3, ("unspecified", "unassalpha", "unspecified")):
            alpha = samples[..., 4:5] / (2**bits - 1) if "unassalpha" in kinds else np.ones((HEIGHT, WIDTH, 1))
            file = written(samples, photometric="rgb", extrasamples=kinds, planarconfig="contig")
            yield Case(f"rgb, {bits} bits, {kinds}", file, on_white(seen, alpha), 3)
        file = written(counted(bits, 4), photometric="minisblack", planarconfig="contig", extrasamples=[0, 0, 0])
        yield Case(f"four bands, {bits} bits", file, rgb(shown(counted(bits, 1), 2**bits - 1)), 0)
    for dtype in ("f2", "f4", "f8"):
        samples = light(4).astype(dtype)
        for kind in ("unassalpha", "assocalpha"):
            data = samples.copy()
            if kind == "assocalpha":
                data[..., :3] *= data[..., 3:]
            file = written(data, photometric="rgb", extrasamples=[kind])
            yield Case(f"rgb, {dtype}, {kind}", file, on_white(shown(samples[..., :3], 1.0), light(4)[..., 3:]), 3)


def colour_spaces() -> Iterator[Case]:
    """CMYK, CIE Lab, ICC Lab and YCbCr."""
    for bits, layout in itertools.product((8, 16), LAYOUTS):
        ink = counted(bits, 4)
        seen = of_cmyk(ink / (2**bits - 1))
        for compression in (None, "lzw", "zlib"):
            options = LAYOUTS[layout] | {"photometric": "separated", "compression": compression}
            name = f"CMYK, {bits} bits, {layout}, {compression}"
            yield Case(name, written(ink, **options), seen, 2)
            yield Case(f"{name}, planes", written(planes(ink), planarconfig="separate", **options), seen, 2)
    part = light(3)
    # Colours that sRGB has.
    lightness, a, b = 20 + 60 * part[..., 0], np.round(30 * part[..., 1] - 15), np.round(30 * part[..., 2] - 15)
    for layout, options in LAYOUTS.items():
        for photometric in ("cielab", "icclab"):
            is_cie = photometric == "cielab"
            codes = np.dstack([np.round(lightness * 2.55), a + (0 if is_cie else 128), b + (0 if is_cie else 128)])
            seen = of_lab(codes[..., 0] / 2.55, a, b)
            file = written(codes.astype(np.int16).astype(np.uint8), photometric=photometric, **options)
            yield Case(f"{photometric}, 8 bits, {layout}", file, seen, 4)
            wide = np.dstack([lightness * (655.35 if is_cie else 652.80), codes[..., 1] * 256, codes[..., 2] * 256])
            file = written(wide.astype(np.int32).astype(np.uint16), photometric=photometric, **options)
            yield Case(f"{photometric}, 16 bits, {layout}", file, of_lab(lightness, a, b), 4)
    yield from ycbcr()


def ycbcr() -> Iterator[Case]:
    """YCbCr that is not JPEG, whose chroma several pixels share, in the range of JFIF and in that of video."""
    codes = np.floor(light(3) * (235, 140, 140) + (10, 60, 60))
    for (across, down), order, rows in itertools.product(((1, 1), (2, 1), (2, 2), (4, 2), (4, 4)), "<>", (HEIGHT, 8)):
        chroma = codes[::down, ::across, 1:]
        whole = chroma.repeat(down, axis=0).repeat(across, axis=1)[:HEIGHT, :WIDTH]
        width, height = -(-WIDTH // across) * across, -(-HEIGHT // down) * down
        luma = np.pad(codes[..., 0], ((0, height - HEIGHT), (0, width - WIDTH)), mode="edge")
        units = luma.reshape(height // down, down, width // across, across).transpose(0, 2, 1, 3)
        data = np.concatenate([units.reshape(height // down, width // across, -1), chroma], axis=2).astype(np.uint8)
        strips = [data[start // down : (start + rows) // down].tobytes() for start in range(0, HEIGHT, rows)]
        tags = plain(codes, 6, t530=(3, [across, down]), t531=(3, [2])) | {278: (4, [rows])}
        seen = of_ycbcr(np.dstack([codes[..., 0], whole]))
        name = f"YCbCr, {across}x{down}, {order}, strips of {rows}"
        yield Case(name, handmade(tags, strips, order), seen, 2)
    wide = np.floor((codes - (0, 128, 128)) * np.array([219, 224, 224]) / 255 + (16, 128, 128))
    video = [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1]
    tags = plain(codes, 6, t530=(3, [1, 1]), t532=(5, video))
    seen = of_ycbcr((wide - (16, 128, 128)) * np.array([255 / 219, 254 / 224, 254 / 224]) + (0, 128, 128))
    yield Case("YCbCr, video's range", handmade(tags, [wide.astype(np.uint8).tobytes()]), seen, 3)


def directions() -> Iterator[Case]:
    """The eight orientations, by several kinds of samples."""
    for orientation, bits, channels in itertools.product(range(1, 9), (8, 16), (1, 3)):
        samples = counted(bits, channels)
        seen = rgb(shown(samples, 2**bits - 1)).astype(np.uint8)
        upright = Image.fromarray(seen)
        upright = upright if orientation == 1 else upright.transpose(TO_UPRIGHT[orientation])
        options: dict[str, Any] = {"photometric": "rgb" if channels == 3 else "minisblack"}
        options["extratags"] = [(274, 3, 1, orientation, True)]
        data = samples if channels == 3 else samples[..., 0]
        file = written(data, tile=(16, 16), **options)
        yield Case(f"orientation {orientation}, {bits} bits, {channels}", file, np.asarray(upright).astype(float), 0)


def oddities() -> Iterator[Case]:
    """Tags that are missing, odd, or of old writers; bits the other way round; ranges that the file says."""
    grey, colours = counted(8, 1), counted(8, 3)
    data, seen, coloured = grey.tobytes(), rgb(grey.astype(float)), colours.astype(float)
    swapped = imagecodecs.bitorder_encode(data)
    for order in "<>":
        yield Case(f"plain, {order}", handmade(plain(grey, 1), [data], order), seen, 0)
        yield Case(f"FillOrder 2, {order}", handmade(plain(grey, 1, t266=(3, [2])), [swapped], order), seen, 0)
    bits = counted(1, 1)
    packed = imagecodecs.packints_encode(bits[..., 0], 1, runlen=WIDTH)
    tags = plain(bits, 0, t266=(3, [2])) | {258: (3, [1])}
    file = handmade(tags, [imagecodecs.bitorder_encode(packed)])
    yield Case("FillOrder 2, 1 bit, white is zero", file, 255 - rgb(bits * 255.0), 0)
    lzw = imagecodecs.bitorder_encode(imagecodecs.lzw_encode(data))
    yield Case("FillOrder 2, LZW", handmade(plain(grey, 1, t266=(3, [2])) | {259: (3, [5])}, [lzw]), seen, 0)
    for tag in (278, 279, 262, 277, 259, 258):
        image, tags = (bits, plain(bits, 1)) if tag == 258 else (grey, plain(grey, 1))
        file = handmade(tags, [packed if tag == 258 else data], drop=(tag,))
        yield Case(f"without tag {tag}", file, rgb(image * 255.0) if tag == 258 else seen, 0)
    yield Case("RGB without tag 262", handmade(plain(colours, 2), [colours.tobytes()], drop=(262,)), coloured, 0)
    halves = [data[: 8 * WIDTH], *[data[start * WIDTH : (start + 8) * WIDTH] for start in range(8, HEIGHT, 8)]]
    tags = plain(grey, 1) | {278: (4, [8])}
    yield Case("strips without tag 279", handmade(tags, halves, drop=(279,)), seen, 0)
    yield Case("one strip of byte count 0", handmade(plain(grey, 1, t279=(4, [0])), [data]), seen, 0)
    yield Case("kind of sample not known", handmade(plain(grey, 1, t339=(3, [4])), [data]), seen, 0)
    yield Case("bits said once", handmade(plain(colours, 2, t258=(3, [8])), [colours.tobytes()]), coloured, 0)
    padded = imagecodecs.zlib_encode(data + bytes(9 * WIDTH))
    yield Case("a strip of more rows", handmade(plain(grey, 1) | {259: (3, [8])}, [padded]), seen, 0)
    old = imagecodecs.zlib_encode(data)
    yield Case("old deflate", handmade(plain(grey, 1) | {259: (3, [32_946])}, [old]), seen, 0)
    four = counted(8, 4)
    alpha = four[..., 3:] / 255
    yield Case("RGB and one unsaid", handmade(plain(four, 2), [four.tobytes()]), on_white(coloured, alpha), 2)
    four[..., 3] = 0
    yield Case("RGB and one unsaid that is 0", handmade(plain(four, 2), [four.tobytes()]), coloured, 0)
    yield from ranges()


def ranges() -> Iterator[Case]:
    """Fewer bits than the samples have, said and unsaid; and where there is no picture."""
    twelve = counted(12, 1)
    for order, photometric in itertools.product("<>", ("minisblack", "miniswhite")):
        options: dict[str, Any] = {"photometric": photometric, "byteorder": order}
        seen = rgb(shown(twelve, 4095))
        seen = seen if photometric == "minisblack" else 255 - seen
        said = [(281, 3, 1, 4095, True)]
        file = written(twelve[..., 0], extratags=said, **options)
        yield Case(f"12 bits in 16, {photometric}, {order}", file, seen, 0)
    dim = rgb(shown(twelve, 65535))
    yield Case("12 bits in 16, unsaid", written(twelve[..., 0], photometric="minisblack"), dim, 0)
    file = written(twelve[..., 0], photometric="minisblack", extratags=[(281, 3, 1, 100, True)])
    yield Case("12 bits in 16, a wrong maximum", file, dim, 0)
    file = written(twelve[..., 0], photometric="minisblack", extratags=[(281, 4, 1, 70_000, True)])
    yield Case("12 bits in 16, a maximum of more bits", file, dim, 0)
    for dtype, low, high in (("i2", -1000, 3000), ("f4", -2.0, 6.0)):
        samples = (light(1)[..., 0] * (high - low) + low).astype(dtype)
        limits: list[tuple[int, int, int, Any, bool]] = [(340, 12, 1, low, True), (341, 12, 1, high, True)]
        file = written(samples, photometric="minisblack", extratags=limits)
        yield Case(f"{dtype} from {low} to {high}", file, rgb(shown(samples[..., None] - float(low), high - low)), 1)
    heights = (light(1)[..., 0] * 1000).astype("f4")
    holes = heights.copy()
    holes[3:9, 3:9] = -9999.0
    seen = rgb(shown(heights[..., None], 65535.0))
    seen[3:9, 3:9] = 255
    file = written(holes, photometric="minisblack", extratags=[(42_113, 2, 6, "-9999", True)])
    yield Case("GDAL's nodata", file, seen, 1)
    whole = light(1)[..., 0].astype("f4")
    seen = rgb(shown(whole[..., None], 1.0))
    seen[3:9, 3:9] = 255
    for text, number in (("3.4028234663852886e+38", 3.4028235e38), ("nan", np.nan), ("inf", np.inf)):
        holes = whole.copy()
        holes[3:9, 3:9] = np.float32(number)
        file = written(holes, photometric="minisblack", extratags=[(42_113, 2, len(text), text, True)])
        yield Case(f"GDAL's nodata {text}", file, seen, 1)


def several() -> Iterator[Case]:
    """Files of several pictures of several kinds."""
    colours = counted(8, 3)
    seen = colours.astype(float)
    small, mask = np.full((10, 13, 3), 90, np.uint8), np.zeros((HEIGHT, WIDTH), bool)

    def pages(*each: tuple[Array, dict[str, Any]], **options: Any) -> bytes:
        file = io.BytesIO()
        with tifffile.TiffWriter(file, **options) as writer:
            for samples, how in each:
                writer.write(samples, metadata=None, **how)
        return file.getvalue()

    picture: tuple[Array, dict[str, Any]] = (colours, {"photometric": "rgb"})
    thumbnail: tuple[Array, dict[str, Any]] = (small, {"photometric": "rgb", "subfiletype": 1})
    other: tuple[Array, dict[str, Any]] = (255 - colours, {"photometric": "rgb"})
    hole: tuple[Array, dict[str, Any]] = (mask, {"photometric": "mask", "subfiletype": 4})
    old: tuple[Array, dict[str, Any]] = (small, {"photometric": "rgb", "extratags": [(255, 3, 1, 2, True)]})
    yield Case("a smaller copy first", pages(thumbnail, picture), seen, 0)
    yield Case("smaller copies first", pages(thumbnail, thumbnail, picture, other), seen, 0)
    yield Case("a smaller copy behind", pages(picture, thumbnail), seen, 0)
    yield Case("a mask first", pages(hole, picture), seen, 0)
    yield Case("a mask behind", pages(picture, hole), seen, 0)
    yield Case(
        "a mask of a smaller copy first", pages((mask, {"photometric": "mask", "subfiletype": 5}), picture), seen, 0
    )
    yield Case("several pictures", pages(picture, other, thumbnail), seen, 0)
    yield Case("several pictures, BigTIFF, MM", pages(picture, other, bigtiff=True, byteorder=">"), seen, 0)
    yield Case("smaller copies below", pages((colours, picture[1] | {"subifds": 2}), thumbnail, thumbnail), seen, 0)
    yield Case("the picture below a smaller copy", pages((small, thumbnail[1] | {"subifds": 1}), picture), seen, 0)
    yield Case("only smaller copies", pages(thumbnail, (colours, picture[1] | {"subfiletype": 1})), seen, 0)
    yield Case("page of several", pages((colours, picture[1] | {"subfiletype": 2}), other), seen, 0)
    file = pages(old, picture)
    # tifffile writes a NewSubfileType of 0 beside what it is told.
    yield Case(
        "a smaller copy first, by the old tag",
        file.replace(struct.pack("<HHI", 254, 4, 1), struct.pack("<HHI", 253, 4, 1), 1),
        seen,
        0,
    )
    yield Case(
        "grey first, then RGB", pages((colours[..., 0], {"photometric": "minisblack"}), picture), rgb(seen[..., :1]), 0
    )
    stack = np.stack([colours[..., 0], colours[..., 1], colours[..., 2]])
    for name, options in (("ImageJ", {"imagej": True}), ("OME", {"ome": True})):
        yield Case(f"{name}'s stack", written(stack, photometric="minisblack", **options), rgb(seen[..., :1]), 0)


GROUPS: tuple[Callable[[], Iterator[Case]], ...] = (
    depths,
    numbers,
    compressions,
    image_codecs,
    palettes,
    alphas,
    colour_spaces,
    directions,
    oddities,
    several,
)


def by_gaze(case: Case) -> str:
    """Return right, refused or wrong."""
    try:
        seen = np.asarray(decode(case.file, LIMITS).rgb)
    except GazeError:
        return "refused"
    return _judged(case, seen)


def by_pillow(case: Case) -> str:
    """Return what comes of Pillow's own decoder, with all else as it is here."""
    try:
        with Image.open(io.BytesIO(case.file)) as image:
            image.load()
            if image.mode == "F":  # which it leaves to who asked
                floats = np.asarray(image)[..., None]
                white = next((white for white in (1.0, 255.0, 65535.0) if floats.max() <= white), floats.max())
                return _judged(case, rgb(shown(floats, white)), 1.0)
            # It takes the upper 8 of 16 bits, which no one sees.
            return _judged(case, np.asarray(OrientedImage(image, None).whole()), 1.0)
    except Exception:  # noqa: BLE001  # whatever it says
        return "refused"


def _judged(case: Case, seen: Array, least: float = 0.0) -> str:
    if seen.shape != case.seen.shape:
        return "wrong"
    # Half a step is what rounding may cost.
    return "right" if np.abs(seen.astype(float) - case.seen).max() <= max(case.tolerance, least) + 0.5 else "wrong"


def main() -> None:
    """Print how many of each group are right, refused and wrong, here and by Pillow; with any argument, which."""
    print("kinds | files | here: right, refused, wrong | Pillow: right, refused, wrong")
    totals: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for group in GROUPS:
        here: Counter[str] = Counter()
        pillow: Counter[str] = Counter()
        for case in group():
            ours, theirs = by_gaze(case), by_pillow(case)
            here[ours] += 1
            pillow[theirs] += 1
            if len(sys.argv) > 1 and ours != "right":
                print(f"    {ours} here, {theirs} by Pillow: {case.name}")
        print(group.__name__, "|", here.total(), "|", *(_counts(each) for each in (here, pillow)))
        totals[0].update(here)
        totals[1].update(pillow)
    print("all |", totals[0].total(), "|", *(_counts(each) for each in totals))


def _counts(found: Counter[str]) -> str:
    return f"{found['right']}, {found['refused']}, {found['wrong']} |"


if __name__ == "__main__":
    main()
