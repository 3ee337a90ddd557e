"""Framing: what of a picture the model gets to see, and how that comes to the size that the model takes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot.preprocessing.resizing import CroppableImage, resized

Fit = Literal["crop", "pad", "stretch"]
"""crop: the middle square, CLIP's own way; pad: all of it, on bars; stretch: all of it, out of proportion."""

Region = tuple[float, float, float, float]
"""Left, top, width and height in pixels of the upright picture; with bars it is larger than the picture."""


CORNER = 0.75
"""A corner's side, of the picture's short side."""


@dataclass(frozen=True)
class Framing:
    """How a model's pictures come to their size.

    size:          height and width that the model takes
    shortest_edge: what the short side is resized to before the middle is cut out
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
        """Return what of a picture of this width and height the model sees."""
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
            # Cut out band by band while it is resized: all of a corner at once would be half of the picture again.
            name: self._resized(_Part(image, left, top, across, down), (width, height), cores)
            for name, (left, top) in places.items()
        }

    def _padded(self, image: Image.Image | CroppableImage, cores: int) -> Image.Image:
        """Return all of the picture, with bars of the colour that its edge has on average."""
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
    """A part of a picture, which is cut out only as far as it is asked for."""

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
