"""How much the difference of two phrases' similarities changes with what nobody sees: python -m benchmarks.near_ties.

Of each picture a copy is made that was saved as JPEG of quality 90, and one that lost a row and a column of pixels.
"""

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from service.composition import load_classifier, served_lists
from service.settings import read_settings
from service.zero_shot import model_files
from service.zero_shot.interpretation.certainty import NEAR_TIE_SIMILARITY
from service.zero_shot.ranking import cosines
from training.phrases import EVALUATION_PHRASES
from training.pictures import distorted, draw

_LISTS = ("movements", "surfaces", "tools", "qualities")


def copies(picture: Image.Image) -> Iterator[Image.Image]:
    """Yield pictures that look the same as this one."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    yield Image.open(file).convert("RGB")
    yield picture.crop((1, 1, picture.width, picture.height))


def drawn(count: int) -> Iterator[Image.Image]:
    """Yield drawn pictures."""
    for seed in range(count):
        rng = np.random.default_rng([seed, 4])
        yield distorted(draw(EVALUATION_PHRASES[rng.integers(len(EVALUATION_PHRASES))], rng), rng)


def read(files: Sequence[Path]) -> Iterator[Image.Image]:
    """Yield the pictures of files."""
    for file in files:
        yield Image.open(file).convert("RGB")


def main() -> None:
    """Print how much the differences of neighbours' similarities change."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="pictures; drawn ones where none is named")
    parser.add_argument("--pictures", type=int, default=100, help="how many to draw")
    arguments = parser.parse_args()
    settings = read_settings()
    served = {name: each for name, each in served_lists(settings).items() if name in _LISTS}
    classifier = load_classifier(settings, model_files.fetch(settings.model, settings.revision), served)
    changes = []
    pictures = read(arguments.files) if arguments.files else drawn(arguments.pictures)
    for picture in tqdm(pictures, leave=False):
        features = classifier.encode_image(picture)
        for copy in copies(picture):
            of_copy = classifier.encode_image(copy)
            for encoded in classifier.lists_named(_LISTS):
                before, after = (cosines(each, encoded.text_features) for each in (features, of_copy))
                order = np.argsort(-before)[:10]
                changes.append(np.abs(np.diff(after[order]) - np.diff(before[order])))
    found = np.concatenate(changes)
    middle, most = np.percentile(found, [50, 90])
    print(
        f"{classifier.model.id}: the difference of neighbours among the first ten changes by {middle:.4f} in the "
        f"middle, and by less than {most:.4f} in 90 %; near ties are closer than {NEAR_TIE_SIMILARITY}"
    )


if __name__ == "__main__":
    main()
