"""Resizing on several cores, or of what is never whole in memory, equal to Pillow's own to the last bit."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from PIL import Image

_MIN_PIXELS_A_CORE = 200_000
"""A band of fewer is resized before a thread has begun with it."""

_BAND_PIXELS = 1_000_000
"""Of so many pixels at a time there is a copy for each core, or, of what is never whole in memory, all there is."""


class CroppableImage(Protocol):
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
    image: Image.Image | CroppableImage, size: tuple[int, int], resample: Image.Resampling, cores: int = 1
) -> Image.Image:
    """Return an RGB image resized as Image.resize() does it, in bands of rows on so many cores, or part by part.

    Pillow resizes along the rows first, rounds to 8 bits, and then along the columns. The first step, which is most of
    the work, does not look beyond a row, so that it can be done in bands. It goes the other way round, since Pillow 13,
    where the height loses more than twice the pixels that the width does.
    """
    width, height = image.width, image.height
    columns_first = height > size[1] and height - size[1] > 2 * (width - size[0])
    cores = max(1, min(cores, width * height // _MIN_PIXELS_A_CORE))
    if isinstance(image, Image.Image) and (cores < 2 or columns_first):
        return image.resize(size, resample)
    if columns_first:
        return _columns_first(image, size, resample)
    return _rows_first(image, size, resample, cores)


def _rows_first(
    image: Image.Image | CroppableImage, size: tuple[int, int], resample: Image.Resampling, cores: int
) -> Image.Image:
    of_width = Image.new("RGB", (size[0], image.height))
    bands = _bands(image.height, image.width, cores)

    def resize_share(core: int) -> None:
        for top, bottom in bands[core::cores]:
            # A copy, since Pillow would go over the columns as well of what is a box in a larger image.
            band = image.crop((0, top, image.width, bottom))
            of_width.paste(band.resize((size[0], band.height), resample), (0, top))

    with ThreadPoolExecutor(cores) as other_cores:
        others = [other_cores.submit(resize_share, core) for core in range(1, cores)]
        resize_share(0)
        for other in others:
            other.result()
    return of_width.resize(size, resample)


def _columns_first(image: CroppableImage, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    of_height = Image.new("RGB", (image.width, size[1]))
    for left, right in _bands(image.width, image.height, 1):
        of_height.paste(image.crop((left, 0, right, image.height)).resize((right - left, size[1]), resample), (left, 0))
    return of_height.resize(size, resample)


def _bands(length: int, across: int, cores: int) -> list[tuple[int, int]]:
    """Return where each band of rows, or of columns, begins and ends: as many for each core."""
    number = min(length, cores * -(-length * across // (cores * _BAND_PIXELS)))
    return list(itertools.pairwise(length * band // number for band in range(number + 1)))
