"""What the demo model's heat maps are worth, and how long one takes: GAZE_MODEL=demo python -m benchmarks.heat_maps."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from tqdm import tqdm

from benchmarks.drawn import hull, two_objects
from service.api.schemas.requests import MAX_EXPLAINED
from service.composition import load_classifier
from service.settings import read_settings
from service.zero_shot import model_files
from service.zero_shot.classifier import ZeroShotClassifier
from service.zero_shot.interpretation.heat_map import HeatMap, heat_maps, pictures_to_ask
from service.zero_shot.phrase_lists import own_list
from service.zero_shot.ranking import cosines
from training.phrases import EVALUATION_PHRASES

_STEPS = 8


@dataclass(frozen=True)
class Curves:
    """Mean similarity while a picture's parts, the hottest first, are put into a blur, and while they are taken out.

    Insertion and deletion as Petsiuk et al. 2018 have them, of similarity in place of probability.
    """

    insertion: float
    deletion: float


def maps_of(classifier: ZeroShotClassifier, seen: NDArray[np.uint8], phrases: Sequence[str]) -> list[HeatMap]:
    """Return the heat maps of phrases on what the model sees of a picture: [height, width, 3]."""
    [encoded] = classifier.encode_lists([own_list("phrases", tuple(phrases), "{}")])
    features = classifier.encode_views(pictures_to_ask(seen))
    similarities = np.stack([cosines(each, encoded.text_features) for each in features])
    patch = classifier.model.patch_size
    return heat_maps(similarities, seen.shape[0] // patch, seen.shape[1] // patch)


def curves(classifier: ZeroShotClassifier, seen: NDArray[np.uint8], phrase: str, values: NDArray[np.float32]) -> Curves:
    """Return the curves of a map [rows, columns] for a phrase."""
    [encoded] = classifier.encode_lists([own_list("phrases", (phrase,), "{}")])
    blurred = np.asarray(Image.fromarray(seen).filter(ImageFilter.GaussianBlur(seen.shape[0] / 5)))
    ranks = np.argsort(np.argsort(-values.ravel())).reshape(values.shape)
    height, width = seen.shape[0] // values.shape[0], seen.shape[1] // values.shape[1]
    rank_of_pixel = np.kron(ranks, np.ones((height, width), dtype=np.intp))[..., None]
    inserted, deleted = [], []
    for step in range(1, _STEPS):
        hot = rank_of_pixel < values.size * step / _STEPS
        inserted.append(Image.fromarray(np.where(hot, seen, blurred)))
        deleted.append(Image.fromarray(np.where(hot, blurred, seen)))
    features = classifier.encode_views([*inserted, *deleted])
    similarities = np.array([cosines(each, encoded.text_features)[0] for each in features])
    return Curves(float(similarities[: _STEPS - 1].mean()), float(similarities[_STEPS - 1 :].mean()))


def report_places(classifier: ZeroShotClassifier, pictures: int) -> None:
    """Print how often the hottest patch's middle lies within the outline of what the phrase names, or on the thing."""
    framing = classifier.framing
    assert framing  # noqa: S101  # the demo model has one
    within = on = 0
    for seed in tqdm(range(pictures), leave=False):
        scene = two_objects(seed)
        seen = np.asarray(framing(scene.picture, "crop"))
        for found, mask in zip(maps_of(classifier, seen, scene.phrases), scene.masks, strict=True):
            row, column = np.unravel_index(int(found.values.argmax()), found.values.shape)
            patch = classifier.model.patch_size
            place = int((row + 0.5) * patch), int((column + 0.5) * patch)
            inside = framing(mask.convert("RGB"), "crop").convert("L")
            within += bool(hull(inside)[place])
            on += bool(np.asarray(inside)[place] > 127)
    print(
        f"{pictures} pictures of two objects: hottest within the outline of the named one {within / pictures / 2:.1%}, "
        f"on the thing itself {on / pictures / 2:.1%}"
    )


def report_time(classifier: ZeroShotClassifier, rounds: int) -> None:
    """Print how long the maps of 16 phrases take, as so many passes of one picture."""
    size = classifier.model.image_size
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    phrases = EVALUATION_PHRASES[:MAX_EXPLAINED]
    one = [classifier.preprocess(Image.fromarray(noise))]
    maps_of(classifier, noise, phrases)
    passes, explanations = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(10):
            classifier.encode_images(one)
        passed = time.perf_counter()
        maps_of(classifier, noise, phrases)
        passes.append((passed - started) / 10)
        explanations.append(time.perf_counter() - passed)
    alone, together = median(passes), median(explanations)
    print(
        f"{classifier.model.id}, {classifier.model.backend} {classifier.model.precision}: a pass of one picture "
        f"{alone * 1000:.1f} ms, {len(phrases)} heat maps {together * 1000:.0f} ms: {together / alone:.1f} passes"
    )


def main() -> None:
    """Measure the demo model's heat maps, or the time of the model that GAZE_MODEL names."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--pictures", type=int, default=200, help="drawn pictures of two objects")
    parser.add_argument("--time", action="store_true", help="measure only the time")
    arguments = parser.parse_args()
    settings = read_settings()
    classifier = load_classifier(settings, model_files.fetch(settings.model, settings.revision), {})
    if not arguments.time:
        report_places(classifier, arguments.pictures)
    report_time(classifier, 7)


if __name__ == "__main__":
    main()
