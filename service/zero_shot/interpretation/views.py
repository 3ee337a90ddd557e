"""Views: one picture as the model may see it, each at the model's size."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot.preprocessing.framing import CORNER, Fit, Framing
from service.zero_shot.preprocessing.resizing import CroppableImage


@dataclass(frozen=True)
class Views:
    """Makes the views of a picture; may be sent to another process.

    framing: how pictures come to the model's size
    fit:     how this one is framed
    several: whether it is seen in other ways as well
    """

    framing: Framing
    fit: Fit
    several: bool = False

    def min_short_side(self, of_one: int) -> int:
        """Return the pixels of a short side that serves all views, where `of_one` serves a view of all of it."""
        return math.ceil(of_one / CORNER) if self.several else of_one

    def __call__(self, image: Image.Image | CroppableImage, cores: int = 1) -> dict[str, NDArray[np.uint8]]:
        """Return the views of an upright RGB image by name, the one that was asked for first: [height, width, 3] each.

        The others are the middle square and all of the picture on bars, its corners, and the first one mirrored,
        without its colours, and with half as many pixels a side.
        """
        first = self.framing(image, self.fit, cores)
        views: dict[str, Image.Image] = {self.fit: first}
        if self.several:
            views |= {fit: self.framing(image, fit, cores) for fit in ("crop", "pad") if fit != self.fit}
            views |= self.framing.corners(image, cores)
            half = max(1, first.width // 2), max(1, first.height // 2)
            views |= {
                "mirrored": first.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
                "grey": first.convert("L").convert("RGB"),
                "smaller": first.resize(half, Image.Resampling.BOX).resize(first.size, Image.Resampling.BICUBIC),
            }
        return {name: np.asarray(view) for name, view in views.items()}
