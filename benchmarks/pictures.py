"""Pictures to measure with: made by code, and as costly to decode and as large as photographs of their size."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

LARGE = (2175, 1713)
SMALL = (800, 600)
QUALITY = 90
"""The JPEG quality that cameras and picture editors commonly save at."""

_COARSEST, _GRAIN = 4, 5.5
"""Cells of the coarsest layer along the long side; standard deviation of the finest grain, in levels of 255."""


def jpeg(width: int, height: int, seed: int = 0) -> bytes:
    """Return a JPEG of smooth colours, texture at every scale, edges and grain; about 1 MB at 2175 x 1713.

    A photograph's detail falls with its fineness; so does this one's, in layers of which each is twice as fine.
    """
    random = np.random.default_rng(seed)
    samples = np.full((height, width, 3), 128.0, dtype=np.float32)
    cells, strength = _COARSEST, 60.0
    while cells < max(width, height):
        samples += strength * _layer(random, width, height, cells)
        cells, strength = cells * 2, strength * 0.55
    _add_shapes(random, samples)
    samples += random.normal(0.0, _GRAIN, (height, width, 1)).astype(np.float32)
    encoded = io.BytesIO()
    Image.fromarray(np.clip(samples, 0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


def make_picture(folder: Path, size: tuple[int, int]) -> Path:
    """Return the JPEG of this width and height in the folder, made if it is not there."""
    path = folder / f"{size[0]}x{size[1]}.jpg"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(*size))
    return path


def _layer(
    random: np.random.Generator, width: int, height: int, cells: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return noise [height, width, 3] of about that many cells along the long side, with smooth passages between."""
    rows = max(2, cells * height // max(width, height))
    columns = max(2, cells * width // max(width, height))
    grey = random.uniform(-1, 1, (rows, columns, 1))
    colour = random.uniform(-0.4, 0.4, (rows, columns, 3))
    coarse = (grey + colour).astype(np.float32)
    channels = [
        np.asarray(Image.fromarray(coarse[:, :, channel]).resize((width, height), Image.Resampling.BICUBIC))
        for channel in range(3)
    ]
    return np.stack(channels, axis=-1)


def _add_shapes(random: np.random.Generator, samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    """Lay rectangles with hard edges over the picture, in place."""
    height, width, _ = samples.shape
    for _ in range(12):
        top, left = int(random.integers(height)), int(random.integers(width))
        region = samples[top : top + height // 5, left : left + width // 6]
        region += random.uniform(-50, 50, 3).astype(np.float32)
