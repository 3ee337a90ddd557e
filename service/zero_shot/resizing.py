"""Resizing on several cores, equal to Pillow's own to the last bit."""

import itertools
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

_MIN_PIXELS_A_CORE = 200_000
"""A band of fewer is resized before a thread has begun with it."""

_LEAVES_ROWS_ALONE = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
    Image.Resampling.HAMMING,
)
"""The filters that are 1 in the middle and 0 at other whole numbers, so that a band keeps the rows that it has."""


def resized(image: Image.Image, size: tuple[int, int], resample: Image.Resampling, cores: int = 1) -> Image.Image:
    """Return an RGB image resized as Image.resize() does it, in bands of rows on so many cores.

    Pillow resizes along the rows first, rounds to 8 bits, and then along the columns. The first step, which is most of
    the work, does not look beyond a row, so that it can be done in bands. It goes the other way round, since Pillow 13,
    where the height loses more than twice the pixels that the width does; such a picture is resized in one go.
    """
    width, height = image.size
    bands = min(cores, width * height // _MIN_PIXELS_A_CORE, height)
    columns_first = height - size[1] > 2 * (width - size[0])
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
