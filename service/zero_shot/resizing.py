"""Resizing on several cores, or of what is never whole in memory, equal to Pillow's own to the last bit."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from PIL import Image

_MIN_PIXELS_A_CORE = 200_000
"""A band of fewer is resized before a thread has begun with it."""

_BAND_PIXELS = 1_000_000
"""Of what is never whole in memory, so many are there at a time."""

_LEAVES_ROWS_ALONE = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
    Image.Resampling.HAMMING,
)
"""The filters that are 1 in the middle and 0 at other whole numbers, so that a band keeps the rows that it has."""


class InParts(Protocol):
    """An RGB image of which a part is made when it is asked for."""

    @property
    def width(self) -> int:
        """Pixels of a row."""

    @property
    def height(self) -> int:
        """Rows."""

    def crop(self, box: tuple[int, int, int, int]) -> Image.Image:
        """Return what is between left, top, right and bottom."""


def resized(
    image: Image.Image | InParts, size: tuple[int, int], resample: Image.Resampling, cores: int = 1
) -> Image.Image:
    """Return an RGB image resized as Image.resize() does it, in bands of rows on so many cores, or part by part.

    Pillow resizes along the rows first, rounds to 8 bits, and then along the columns. The first step, which is most of
    the work, does not look beyond a row, so that it can be done in bands. It goes the other way round, since Pillow 13,
    where the height loses more than twice the pixels that the width does; such a picture is resized in one go.
    """
    width, height = image.width, image.height
    columns_first = height > size[1] and height - size[1] > 2 * (width - size[0])
    if not isinstance(image, Image.Image):
        return (_columns_first if columns_first else _rows_first)(image, size, resample)
    bands = min(cores, width * height // _MIN_PIXELS_A_CORE, height)
    if bands < 2 or columns_first or resample not in _LEAVES_ROWS_ALONE:
        return image.resize(size, resample)
    edges = [height * band // bands for band in range(bands + 1)]

    def band(top: int, bottom: int) -> Image.Image:
        # The box reads the rows where they are; a crop would copy them.
        return image.resize((size[0], bottom - top), resample, box=(0, top, width, bottom))

    of_width = Image.new("RGB", (size[0], height))
    first, *rest = itertools.pairwise(edges)
    with ThreadPoolExecutor(bands - 1) as other_cores:
        done = [other_cores.submit(band, *rows) for rows in rest]
        of_width.paste(band(*first), (0, 0))
        for (top, _), resized_band in zip(rest, done, strict=True):
            of_width.paste(resized_band.result(), (0, top))
    return of_width.resize(size, resample)


def _rows_first(image: InParts, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    of_width = Image.new("RGB", (size[0], image.height))
    for top, bottom in _bands(image.height, image.width):
        of_width.paste(image.crop((0, top, image.width, bottom)).resize((size[0], bottom - top), resample), (0, top))
    return of_width.resize(size, resample)


def _columns_first(image: InParts, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    of_height = Image.new("RGB", (image.width, size[1]))
    for left, right in _bands(image.width, image.height):
        of_height.paste(image.crop((left, 0, right, image.height)).resize((right - left, size[1]), resample), (left, 0))
    return of_height.resize(size, resample)


def _bands(length: int, across: int) -> Iterator[tuple[int, int]]:
    """Yield where each band of rows, or of columns, begins and ends."""
    step = max(1, _BAND_PIXELS // across)
    return ((start, min(start + step, length)) for start in range(0, length, step))
