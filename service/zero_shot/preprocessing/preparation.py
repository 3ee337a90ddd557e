"""Preprocessing: one upright RGB image -> the input of the image tower, bit for bit as the model's own processor.

Resizing works in bands, on several cores or on images that are never whole in memory, and equals Pillow's own.
"""

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ImageInputs = Mapping[str, NDArray[Any]]
"""What an image tower takes: arrays by name, of one prepared picture, or of several along a first axis."""

_MIN_PIXELS_A_CORE = 200_000
"""Smaller bands are resized faster than a thread starts."""

_BAND_PIXELS = 1_000_000
"""The size of a band: the most pixels that each core copies at a time."""

Fit = Literal["crop", "pad", "stretch"]
"""crop: the middle square, CLIP's own way; pad: all of it, on bars; stretch: all of it, out of proportion."""

Region = tuple[float, float, float, float]
"""Left, top, width and height in pixels of the upright picture; with bars it is larger than the picture."""

CORNER = 0.75
"""A corner's side, of the picture's short side."""


class CroppableImage(Protocol):
    """An RGB image whose parts are decoded on demand."""

    @property
    def width(self) -> int:
        """Pixels of a row."""

    @property
    def height(self) -> int:
        """Rows."""

    def crop(self, box: tuple[int, int, int, int]) -> Image.Image:
        """Return the part between left, top, right and bottom."""


def resized(
    image: Image.Image | CroppableImage, size: tuple[int, int], resample: Image.Resampling, cores: int = 1
) -> Image.Image:
    """Return an RGB image resized as by Image.resize(), in bands on so many cores.

    Pillow resizes along the rows first, rounds to 8 bits, and then along the columns. The first step, most of the work,
    needs one row at a time, so it can be done in bands. Since Pillow 13 the order is reversed if the height loses more
    than twice as many pixels as the width.
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
            # A copy: given a box in a larger image, Pillow would resize along the columns as well.
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
    """Return the bounds of the bands, the same number for each core."""
    number = min(length, cores * -(-length * across // (cores * _BAND_PIXELS)))
    return list(itertools.pairwise(length * band // number for band in range(number + 1)))


@dataclass(frozen=True)
class Framing:
    """How pictures are brought to the model's size.

    size:          height and width that the model takes
    shortest_edge: what the short side is resized to before the centre crop
    resample:      Pillow's number of the filter
    own:           the fit that the model was trained with
    """

    size: tuple[int, int]
    shortest_edge: int
    resample: int
    own: Fit

    def __call__(self, image: Image.Image | CroppableImage, fit: Fit, cores: int = 1) -> Image.Image:
        """Return an upright RGB picture at the model's size, resized on so many cores."""
        height, width = self.size
        if fit == "stretch":
            return self._resized(image, (width, height), cores)
        if fit == "pad":
            return self._padded(image, cores)
        small = self._resized(image, with_short_side(self.shortest_edge, image.width, image.height), cores)
        left, top = (small.width - width) // 2, (small.height - height) // 2
        return small.crop((left, top, left + width, top + height))

    def region(self, width: int, height: int, fit: Fit) -> Region:
        """Return the region of a picture of this width and height that the model sees."""
        if fit == "stretch":
            return 0.0, 0.0, float(width), float(height)
        rows, columns = self.size
        if fit == "pad":
            small_width, small_height = self._size_of_pad(width, height)
            left, top = -((columns - small_width) // 2), -((rows - small_height) // 2)
        else:
            small_width, small_height = with_short_side(self.shortest_edge, width, height)
            left, top = (small_width - columns) // 2, (small_height - rows) // 2
        across, down = width / small_width, height / small_height
        return left * across, top * down, columns * across, rows * down

    def corners(self, image: Image.Image | CroppableImage, cores: int = 1) -> dict[str, Image.Image]:
        """Return the picture's corners at the model's size, each three quarters of the short side."""
        height, width = self.size
        side = CORNER * min(image.width, image.height) / max(width, height)
        across, down = max(1, round(width * side)), max(1, round(height * side))
        right, bottom = image.width - across, image.height - down
        places = {
            "top_left": (0, 0),
            "top_right": (right, 0),
            "bottom_left": (0, bottom),
            "bottom_right": (right, bottom),
        }
        return {
            # Cropped band by band while it is resized: a whole corner would be half of the picture again.
            name: self._resized(_Part(image, left, top, across, down), (width, height), cores)
            for name, (left, top) in places.items()
        }

    def _padded(self, image: Image.Image | CroppableImage, cores: int) -> Image.Image:
        """Return all of the picture, letterboxed in the average colour of its edge."""
        small = self._resized(image, self._size_of_pad(image.width, image.height), cores)
        height, width = self.size
        padded = Image.new("RGB", (width, height), _edge_colour(np.asarray(small)))
        padded.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
        return padded

    def _resized(self, image: Image.Image | CroppableImage, size: tuple[int, int], cores: int) -> Image.Image:
        return resized(image, size, Image.Resampling(self.resample), cores)

    def _size_of_pad(self, width: int, height: int) -> tuple[int, int]:
        scale = min(self.size[1] / width, self.size[0] / height)
        return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True)
class _Part:
    """A part of a picture, cropped lazily."""

    whole: Image.Image | CroppableImage
    left: int
    top: int
    width: int
    height: int

    def crop(self, box: tuple[int, int, int, int]) -> Image.Image:
        left, top, right, bottom = box
        return self.whole.crop((self.left + left, self.top + top, self.left + right, self.top + bottom))


def with_short_side(edge: int, width: int, height: int) -> tuple[int, int]:
    """Return width and height after the short side is made `edge`, rounded as transformers does it."""
    if width <= height:
        return edge, int(edge * height / width)
    return int(edge * width / height), edge


def _edge_colour(samples: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Return the mean colour of the outermost pixels of a picture [height, width, 3]."""
    edge = np.concatenate([samples[0], samples[-1], samples[:, 0], samples[:, -1]])
    red, green, blue = (round(float(mean)) for mean in edge.mean(axis=0))
    return red, green, blue


class Preprocessor(Protocol):
    """Turns a picture into what an image tower takes."""

    @property
    def framing(self) -> Framing | None:
        """How pictures come to the model's size; None where that is not one size for all."""

    def __call__(self, image: Image.Image, cores: int = 1) -> ImageInputs:
        """Return what the tower takes of one upright RGB image; `cores` are free for it."""

    def normalised(self, small: Image.Image) -> ImageInputs:
        """Return what the tower takes of one RGB picture that is at the model's size."""


@dataclass(frozen=True)
class Preparation:
    """A model's preprocessing, as its preprocessor_config.json describes it.

    Equals transformers' processors in their Pillow form (resize, centre crop, rescale, normalise) bit for bit, without
    their conversions between arrays and images.

    shortest_edge:  what the short side is resized to, the aspect ratio kept; or None, and
    size:           height and width to stretch to
    crop:           height and width of the centre crop, or None
    resample:       Pillow's number of the filter
    rescale_factor: what a sample, 0 to 255, is multiplied by first
    mean, std:      are subtracted from each channel, and divided by
    """

    shortest_edge: int | None
    size: tuple[int, int] | None
    crop: tuple[int, int] | None
    resample: int
    rescale_factor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Image.Image | CroppableImage, cores: int = 1) -> ImageInputs:
        """Return `pixel_values` [3, height, width], float32, of an upright RGB image, made on so many cores."""
        if self.framing:
            return self.normalised(self.framing(image, self.framing.own, cores))
        size = with_short_side(self.shortest_edge or 0, image.width, image.height)
        return self.normalised(resized(image, size, Image.Resampling(self.resample), cores))

    def normalised(self, small: Image.Image) -> ImageInputs:
        """Return `pixel_values` [3, height, width], float32, of an RGB picture at the model's size."""
        samples = np.asarray(small)  # [height, width, 3], uint8
        pixel_values = np.empty((3, *samples.shape[:2]), dtype=np.float32)
        for channel, values in enumerate(self._normalised):
            np.take(values, samples[..., channel], out=pixel_values[channel], mode="clip")
        return {"pixel_values": pixel_values}

    @cached_property
    def _normalised(self) -> NDArray[np.float32]:
        """The normalised value of each of the 256 sample values in each channel: [3, 256]."""
        rescaled = (np.arange(256, dtype=np.float64) * self.rescale_factor).astype(np.float32)
        mean, std = np.array(self.mean, dtype=np.float32), np.array(self.std, dtype=np.float32)
        normalised: NDArray[np.float32] = np.ascontiguousarray(((rescaled[:, None] - mean) / std).T)
        return normalised

    @cached_property
    def framing(self) -> Framing | None:
        """How pictures come to the model's size; None where that is not one size for all."""
        if self.crop and self.shortest_edge:
            return Framing(self.crop, self.shortest_edge, self.resample, "crop")
        return Framing(self.size, max(self.size), self.resample, "stretch") if self.size else None
