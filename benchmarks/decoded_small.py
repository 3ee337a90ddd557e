"""How near the features of a master that is decoded small are to the whole one's: python -m benchmarks.decoded_small.

Each picture is enlarged, saved as a JPEG, a JPEG 2000 and a pyramid TIFF, and decoded twice: beyond the limits, at the
smallest size that serves the model, and whole, with the limits raised. With GAZE_MODEL=demo or any other model; takes
gigabytes.
"""

import argparse
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from benchmarks.near_ties import drawn
from service.composition import load_classifier
from service.images.decode import MIN_SHORT_SIDES, DecodedImage, ImageLimits, decode
from service.settings import read_settings
from service.zero_shot import model_files
from service.zero_shot.classifier import ZeroShotClassifier

_MANY = 2**40


def _by_pillow(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def _pyramid(picture: Image.Image) -> bytes:
    """Return a TIFF whose copies have half the side of the one before, each pixel the mean of four."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=True) as writer:
        for subfiletype in (0, *[1] * (max(picture.size).bit_length() - 8)):
            writer.write(
                np.asarray(picture), photometric="rgb", tile=(256, 256), compression="zlib", subfiletype=subfiletype
            )
            picture = picture.reduce(2)
    return file.getvalue()


_FORMS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": partial(_by_pillow, file_format="JPEG", quality=92),
    "JPEG2000": partial(
        _by_pillow,
        file_format="JPEG2000",
        quality_mode="rates",
        quality_layers=[20],
        irreversible=True,
        tile_size=(1024, 1024),
    ),
    "TIFF": _pyramid,
}


def pictures(files: list[Path]) -> Iterator[tuple[str, Image.Image]]:
    """Yield pictures by name: the files', or ten that are drawn."""
    if files:
        yield from ((file.name, Image.open(file).convert("RGB")) for file in files)
    else:
        yield from ((f"drawn {number}", picture) for number, picture in enumerate(drawn(10)))


def cosine(classifier: ZeroShotClassifier, first: DecodedImage, second: DecodedImage) -> float:
    """Return the cosine of two pictures' features."""
    return float(np.dot(*(classifier.encode_image(each.rgb) for each in (first, second))))


def main() -> None:
    """Print a line for each picture and format."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--side", type=int, default=8_000)
    options = parser.parse_args()
    settings = read_settings()
    classifier = load_classifier(settings, model_files.fetch(settings.model, settings.revision), {})
    side = MIN_SHORT_SIDES * classifier.model.image_size
    lowest = 1.0
    for name, picture in pictures(options.files):
        scale = options.side / max(picture.size)
        large = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
        for file_format, write in _FORMS.items():
            file = write(large)
            small = decode(file, ImageLimits(_MANY, side * side * 16), side)
            whole = decode(file, ImageLimits(_MANY, _MANY))
            found = cosine(classifier, small, whole)
            lowest = min(lowest, found)
            print(f"{name:44}{file_format:10}{whole.rgb.size} at {small.decoded_at}: {found:.6f}", flush=True)
    print(f"lowest: {lowest:.6f}")


if __name__ == "__main__":
    main()
