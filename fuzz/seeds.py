"""Good pictures in every format that is read, and in every kind of it that decodes another way."""

import functools
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from service.images.decoders import heif

heif.register()

VARIANTS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "JPEG": (
        *(("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True}), ("RGB", {"subsampling": 0})),
        *(("RGB", {"restart_marker_rows": 1}), ("RGB", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"})),
    ),
    "PNG": (
        *(("RGB", {}), ("RGBA", {}), ("L", {}), ("LA", {}), ("P", {}), ("1", {}), ("I;16", {})),
        *(("P", {"transparency": 3}), ("RGB", {"text": True}), ("RGB", {"frames": 3})),
    ),
    "WEBP": (
        *(("RGB", {}), ("RGBA", {}), ("RGB", {"lossless": True}), ("RGBA", {"lossless": True})),
        *(("RGB", {"frames": 3}), ("RGB", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"})),
    ),
    "GIF": (("P", {}), ("L", {}), ("P", {"transparency": 3}), ("P", {"frames": 3}), ("P", {"interlace": 0})),
    "TIFF": (
        *(("RGB", {}), ("RGBA", {}), ("L", {}), ("1", {}), ("P", {}), ("CMYK", {}), ("LAB", {}), ("I;16", {})),
        *(("F", {}), ("RGB", {"frames": 3}), ("1", {"compression": "group4"}), ("1", {"compression": "group3"})),
        *(
            ("RGB", {"compression": compression})
            for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma")
        ),
    ),
    "BMP": (("RGB", {}), ("RGBA", {}), ("L", {}), ("P", {}), ("1", {})),
    "AVIF": (("RGB", {}), ("RGBA", {}), ("RGB", {"subsampling": "4:4:4"}), ("RGB", {"frames": 3})),
    "HEIF": (
        *(("RGB", {}), ("RGBA", {}), ("L", {}), ("RGB", {"chroma": 444, "quality": -1}), ("RGB", {"tile_size": 32})),
        *(("RGB", {"frames": 3}), ("RGB", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"})),
    ),
    "JPEG2000": (
        *(("RGB", {}), ("RGBA", {}), ("L", {}), ("I;16", {}), ("RGB", {"no_jp2": True})),
        *(("RGB", {"tile_size": (16, 16)}), ("RGB", {"irreversible": True, "quality_layers": [20, 5]})),
    ),
}
"""By Pillow's name of the format: modes, with the options that they are saved with."""


def picture(mode: str, seed: int = 0, size: tuple[int, int] = (61, 47)) -> Image.Image:
    """Return a picture of smooth random colours."""
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8))
    large = small.resize(size, Image.Resampling.BICUBIC)
    return large.convert("L").convert(mode) if mode in ("I;16", "F") else large.convert(mode)


@functools.cache
def seeds(file_format: str) -> tuple[bytes, ...]:
    """Return the files of a format, one of each variant."""
    files = tuple(_saved(file_format, mode, dict(options)) for mode, options in VARIANTS[file_format])
    return (*files, *_FURTHER[file_format]()) if file_format in _FURTHER else files


def _further_tiffs() -> Iterator[bytes]:
    """Yield TIFFs of kinds that Pillow does not write."""
    colours = np.asarray(picture("RGB"))
    deep = colours.astype(np.uint16) * 257
    tiles: dict[str, Any] = {"photometric": "rgb", "tile": (16, 32), "metadata": None}
    planes: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate", "metadata": None}
    kinds: tuple[tuple[NDArray[Any], dict[str, Any]], ...] = (
        (colours, {**tiles, "bigtiff": True, "byteorder": ">"}),
        *((colours, {**tiles, "compression": compression}) for compression in ("jpeg", "jpeg2000", "webp", "zlib")),
        (deep, {**tiles, "compression": "lzw", "predictor": 2, "byteorder": ">"}),
        (np.moveaxis(deep, 2, 0), {**planes, "rowsperstrip": 9, "compression": "zstd"}),
        ((colours / 255).astype(np.float32), {**tiles, "compression": "lzma", "predictor": 3}),
        (deep[..., :2], {"photometric": "miniswhite", "planarconfig": "contig", "extrasamples": [2], "metadata": None}),
        (colours[..., 0], {"photometric": "palette", "colormap": np.resize(deep, (3, 256)), "metadata": None}),
    )
    for samples, options in kinds:
        file = io.BytesIO()
        tifffile.imwrite(file, np.ascontiguousarray(samples), **options)
        yield file.getvalue()
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as pyramid:
        pyramid.write(colours[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
        pyramid.write(colours, photometric="rgb", subifds=1, metadata=None)
        pyramid.write(colours[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    yield file.getvalue()


def _box(kind: bytes, *contents: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, contents)), kind) + b"".join(contents)


def _further_jpeg_2000s() -> Iterator[bytes]:
    """Yield JPEG 2000s of kinds that Pillow does not write."""
    colours = np.asarray(picture("RGB"))
    codestream: dict[str, Any] = {"level": 0, "reversible": True, "codecformat": "j2k"}
    start = _box(b"jP  ", b"\r\n\x87\n") + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    boxes = (
        (
            colours[..., 1] >> 5,
            _box(b"pclr", b"\0\x08\3\7\7\7", bytes(range(24))),
            _box(b"cmap", b"\0\0\1\0\0\0\1\1\0\0\1\2"),
        ),
        (colours, _box(b"cdef", struct.pack(">10H", 3, 0, 0, 3, 1, 0, 2, 2, 0, 1))),
        (colours, _box(b"colr", b"\2\0\0", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())),
    )
    for samples, *said in boxes:
        header = _box(b"ihdr", struct.pack(">IIHBBBB", 47, 61, samples.ndim, 7, 7, 0, 0))
        coded = imagecodecs.jpeg2k_encode(np.ascontiguousarray(samples), **codestream)
        yield start + _box(b"jp2h", header, *said, _box(b"colr", b"\1\0\0\0\0\0\x10")) + _box(b"jp2c", bytes(coded))
    for channels, bits in ((3, 16), (1, 12), (3, 4), (4, 10), (2, 16)):
        deep = (np.resize(colours, (47, 61, channels)).squeeze().astype(np.uint16) * 257) >> (16 - bits)
        samples = deep.astype(np.uint8) if bits < 8 else deep
        yield bytes(imagecodecs.jpeg2k_encode(samples, level=0, bitspersample=bits, reversible=True))


def _further_pngs() -> Iterator[bytes]:
    """Yield PNGs of deep samples, in the order of rows and interlaced ones, with a transparent value."""
    rows = np.asarray(picture("RGB")).astype(">u2") * np.array(257, ">u2")
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    for parts in ([rows], [rows[top::down, left::across] for left, top, across, down in passes]):
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for part in parts for row in part))
        header = struct.pack(">IIBBBBB", 61, 47, 16, 2, 0, 0, len(parts) > 1)
        chunks = ((b"IHDR", header), (b"tRNS", rows[9, 9].tobytes()), (b"IDAT", data), (b"IEND", b""))
        yield b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))
            for kind, contents in chunks
        )


def _further_avifs() -> Iterator[bytes]:
    """Yield AVIFs of more than 8 bits, and of grey."""
    deep = np.asarray(picture("RGB")).astype(np.uint16)
    yield bytes(imagecodecs.avif_encode(deep * 4, level=80, bitspersample=10, speed=9))
    yield bytes(imagecodecs.avif_encode(deep * 16, level=80, bitspersample=12, pixelformat="444", speed=9))
    yield bytes(imagecodecs.avif_encode(np.asarray(picture("L")), level=80, speed=9))


def _further_heifs() -> Iterator[bytes]:
    """Yield HEIFs of more than 8 bits."""
    deep = np.asarray(picture("RGB")).astype(np.uint16) * 257
    for channels in (deep, np.dstack([deep, deep[..., 1]])):
        mode = "RGBA;16" if channels.shape[2] == 4 else "RGB;16"
        file = io.BytesIO()
        pillow_heif.encode(mode, (61, 47), np.ascontiguousarray(channels).tobytes(), file, quality=80)
        yield file.getvalue()


def _further_bitmaps() -> Iterator[bytes]:
    """Yield bitmaps in runs, and of 16 bits a pixel."""
    for bits, compression, data in (
        (8, 1, (b"\x3d\5\0\0" * 47)[:-2] + b"\0\1"),
        (4, 2, (b"\x3d\x57\0\0" * 47)[:-2] + b"\0\1"),
        (16, 0, bytes(range(124)) * 47),
    ):
        colours = bytes(range(256)) * 4 if bits < 16 else b""
        colours = colours[: 4 << bits] if bits < 8 else colours
        header = struct.pack("<IiiHHIIiiII", 40, 61, 47, 1, bits, compression, len(data), 0, 0, 0, 0)
        start = 14 + len(header) + len(colours)
        yield b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + colours + data


_FURTHER: dict[str, Callable[[], Iterator[bytes]]] = {
    "TIFF": _further_tiffs,
    "JPEG2000": _further_jpeg_2000s,
    "PNG": _further_pngs,
    "AVIF": _further_avifs,
    "HEIF": _further_heifs,
    "BMP": _further_bitmaps,
}


def _saved(file_format: str, mode: str, options: dict[str, Any]) -> bytes:
    frames = options.pop("frames", 1)
    if frames > 1:
        others = [picture(mode, seed) for seed in range(1, frames)]
        options |= {"save_all": True, "append_images": others}
    if options.pop("text", False):
        notes = PngImagePlugin.PngInfo()
        notes.add_text("Comment", "A river. " * 50, zip=True)
        notes.add_itxt("Title", "Fluß", "de")
        options["pnginfo"] = notes
    buffer = io.BytesIO()
    picture(mode).save(buffer, file_format, **options)
    return buffer.getvalue()
