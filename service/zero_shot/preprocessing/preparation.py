"""Preparation: one upright RGB image -> the numbers that the image tower takes, equal to the model's own processor."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot.features import ImageInputs
from service.zero_shot.preprocessing.framing import Framing, with_short_side
from service.zero_shot.preprocessing.resizing import CroppableImage, resized


@dataclass(frozen=True)
class Preparation:
    """How a model wants its pictures, as its preprocessor_config.json says it.

    What transformers' processors do in their Pillow form (resize, cut out the middle, rescale, normalise), to the last
    bit, without their conversions between arrays and images.

    shortest_edge:  what the short side is resized to, the aspect ratio kept; or None, and
    size:           height and width that the picture is stretched to
    crop:           height and width of the middle that is cut out, or None
    resample:       Pillow's number of the filter
    rescale_factor: what a sample, 0 to 255, is multiplied by, before
    mean, std:      of each channel are taken off and divided by
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
        """What each of the 256 values of a sample becomes in each channel: [3, 256]."""
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
