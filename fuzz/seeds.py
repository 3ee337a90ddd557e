"""Good pictures in every format that is read, and in every kind of it that decodes another way."""

import functools
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from service.images import heif

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
    return (*files, *_further_tiffs()) if file_format == "TIFF" else files


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
