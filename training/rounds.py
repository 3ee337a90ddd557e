"""Draws training pictures in several processes, one round of them at a time."""

from functools import partial
from multiprocessing.pool import Pool

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from training.distort import distorted
from training.phrases import Subject
from training.pictures import draw_subject, random_size, random_subject

EDGE = 224
CHUNK = 64
Pixels = NDArray[np.uint8]


def fitted(image: Image.Image, edge: int = EDGE) -> Pixels:
    """Return the picture's middle square as the model sees it: (edge, edge, 3), 0 to 255.

    The short edge is scaled to edge, bicubically, and the long one cropped, as CLIPImageProcessor does.
    """
    width, height = image.size
    short = min(width, height)
    scaled = image.resize((width * edge // short, height * edge // short), Image.Resampling.BICUBIC)
    left, top = (scaled.width - edge) // 2, (scaled.height - edge) // 2
    return np.asarray(scaled.crop((left, top, left + edge, top + edge)))


def _draw_chunk(seed: tuple[int, ...], spread: float, chunk: int) -> tuple[list[Subject], Pixels]:
    """Return CHUNK subjects and their fitted pictures, the same for the same seed and chunk number."""
    rng = np.random.default_rng([*seed, chunk])
    subjects = [random_subject(rng) for _ in range(CHUNK)]
    pixels = np.empty((CHUNK, EDGE, EDGE, 3), dtype=np.uint8)
    for number, subject in enumerate(subjects):
        image = draw_subject(subject, random_size(rng), rng, spread)
        # A third stay clean: people who try the model draw clean pictures.
        pixels[number] = fitted(distorted(image, rng) if rng.random() < 0.67 else image)
    return subjects, pixels


def draw_round(pool: Pool, seed: tuple[int, ...], count: int, spread: float) -> tuple[list[Subject], Pixels]:
    """Return subjects and fitted pictures (count, 224, 224, 3) drawn by the pool.

    count is a multiple of CHUNK; spread (0 to 1) is as in draw_subject.
    """
    subjects: list[Subject] = []
    pixels = np.empty((count, EDGE, EDGE, 3), dtype=np.uint8)
    chunks = pool.imap(partial(_draw_chunk, seed, spread), range(count // CHUNK))
    for some, drawn in tqdm(chunks, "drawing", count // CHUNK, leave=False, unit="chunk"):
        pixels[len(subjects) : len(subjects) + CHUNK] = drawn
        subjects += some
    return subjects, pixels
