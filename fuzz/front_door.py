"""Search for a picture that decoding does not survive: python -m fuzz.front_door [options of libFuzzer].

A finding is an exception that is no GazeError, or a picture that is not as decode() promises.
"""

import io
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["service.images", "PIL"]):
    from PIL import ExifTags, Image, ImageCms

    from service.errors import GazeError
    from service.images.decode import ImageLimits, decode
    from service.images.decoders import heif
    from service.images.picture import MAX_CLAIMED_PIXELS

CORPUS = Path(".fuzz/corpus/front-door")
LIMITS = ImageLimits(max_bytes=100_000, max_pixels=65_536)
_FORMATS = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P"),
    "TIFF": ("1", "L", "RGB", "RGBA", "CMYK", "LAB", "I;16", "F"),
    "BMP": ("1", "L", "RGB"),
    "AVIF": ("RGB", "RGBA"),
    "HEIF": ("L", "RGB", "RGBA"),
    "JPEG2000": ("L", "RGB", "RGBA"),
}


def seeds() -> list[bytes]:
    """Return a small picture of every format in the modes that it has, and some with a profile and an orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    files = []
    heif.register()
    for file_format, modes in _FORMATS.items():
        for mode in modes:
            file = io.BytesIO()
            Image.new(mode, (9, 7)).save(file, file_format)
            files.append(file.getvalue())
    for file_format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"):
        file = io.BytesIO()
        Image.new("RGB", (9, 7)).save(file, file_format, exif=exif, icc_profile=profile)
        files.append(file.getvalue())
    return files


def look(fuzzed: bytes) -> None:
    """Decode one picture, whole and at a fraction of its size."""
    for min_short_side, fast in ((None, False), (2, False), (2, True)):
        try:
            decoded = decode(fuzzed, LIMITS, min_short_side, fast=fast)
        except GazeError:
            continue
        assert decoded.rgb.mode == "RGB", "mode"  # noqa: S101 - atheris reports it
        width, height = decoded.rgb.size
        assert 1 <= width * height <= LIMITS.max_pixels, "size"  # noqa: S101
        assert 1 <= decoded.width * decoded.height <= MAX_CLAIMED_PIXELS, "claim"  # noqa: S101


if __name__ == "__main__":
    CORPUS.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (CORPUS / f"seed-{number}").write_bytes(seed)
    atheris.Setup([*sys.argv, "-timeout=10", "-max_len=4096", "-artifact_prefix=.fuzz/", str(CORPUS)], look)
    atheris.Fuzz()
