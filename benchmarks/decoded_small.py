"""How near the features of a master that is decoded small are to the whole one's: python -m benchmarks.decoded_small.

Each picture is enlarged, saved as a JPEG and as a JPEG 2000, and decoded twice: beyond the limits, at the smallest size
that serves the model, and whole, with the limits raised. With GAZE_MODEL=demo or any other model; takes gigabytes.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.near_ties import drawn
from service.composition import load_classifier
from service.images.decode import DecodedImage, ImageLimits, decode, min_short_side_for
from service.settings import read_settings
from service.zero_shot import hub
from service.zero_shot.classifier import ZeroShotClassifier

_FORMS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 92},
    "JPEG2000": {"quality_mode": "rates", "quality_layers": [20], "irreversible": True, "tile_size": (1024, 1024)},
}
_MANY = 2**40


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
    classifier = load_classifier(settings, hub.fetch(settings.model, settings.revision), {})
    side = min_short_side_for(classifier.model.image_size)
    lowest = 1.0
    for name, picture in pictures(options.files):
        scale = options.side / max(picture.size)
        large = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
        for file_format, saved in _FORMS.items():
            file = io.BytesIO()
            large.save(file, file_format, **saved)
            small = decode(file.getvalue(), ImageLimits(_MANY, side * side * 16), side)
            whole = decode(file.getvalue(), ImageLimits(_MANY, _MANY))
            found = cosine(classifier, small, whole)
            lowest = min(lowest, found)
            print(f"{name:44}{file_format:10}{whole.rgb.size} at {small.decoded_at}: {found:.6f}", flush=True)
    print(f"lowest: {lowest:.6f}")


if __name__ == "__main__":
    main()
