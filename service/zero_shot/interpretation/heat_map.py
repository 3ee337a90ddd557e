"""Heat maps: which part of a picture raises a phrase, found by occluding parts of the picture.

Occlusion (Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2) combined with its
reverse, a picture of which one part alone is left (Petsiuk, Das & Saenko 2018, "RISE: Randomized Input
Sampling for Explanation of Black-box Models"). It needs only features, so it is the same on every
backend, and explains the very model that answers; gradients and attention are not available.

It does not show why a part matters, an object's outline, or what matters only in combination with distant parts. A part
is a soft disc of about a third of the picture's side, which is also a map's resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from service.zero_shot.interpretation.certainty import NEAR_TIE_SIMILARITY

METHOD = "occlusion and isolation of 25 soft discs (Zeiler & Fergus 2014; Petsiuk et al. 2018)"

FLAT_SIMILARITY = NEAR_TIE_SIMILARITY
"""A map is flat if no two discs' gains differ by more."""

_A_SIDE = 5
_MARGIN = 0.18
_RADIUS = 0.12
"""Discs form a grid of five by five with this margin, are Gaussian with this standard deviation, in shares of the side.
Measured: python -m benchmarks.heat_maps."""

_BLUR = 0.18
"""Occluded parts are blurred by this share of the side, which keeps their colours and removes what they show."""

_SHARPNESS = 1.5
"""A disc's weight grows by exp(this) with each standard deviation of the gains."""


@dataclass(frozen=True)
class HeatMap:
    """What parts of a picture raise a phrase.

    similarity: of the phrase and the whole picture
    values:     [rows, columns], 1 for the part that raises it most, down to 0; all 0 if the map is flat
    gain:       similarity with that part alone minus similarity with all but it
    flat:       whether no part raises the phrase more than another does
    """

    similarity: float
    values: NDArray[np.float32]
    gain: float
    flat: bool


def pictures_to_ask(seen: NDArray[np.uint8]) -> list[Image.Image]:
    """Return the variants of a picture [height, width, 3] to encode: all, each disc alone, and all but each disc."""
    height, width = seen.shape[:2]
    blur = ImageFilter.GaussianBlur((_BLUR * width, _BLUR * height))
    blurred = np.asarray(Image.fromarray(seen).filter(blur), dtype=np.float32)
    difference = seen.astype(np.float32) - blurred
    discs = _discs(height, width)[..., None]  # [25, height, width, 1]
    mixed = [blurred + disc * difference for disc in discs] + [blurred + (1 - disc) * difference for disc in discs]
    return [Image.fromarray(seen), *(Image.fromarray(np.rint(each).astype(np.uint8)) for each in mixed)]


def heat_maps(similarities: NDArray[np.float32], rows: int, columns: int) -> list[HeatMap]:
    """Return a heat map for each phrase.

    similarities: [51, phrases], of the pictures that pictures_to_ask() returned; rows, columns: of the maps.
    """
    whole = similarities[0]
    alone, covered = similarities[1:].astype(np.float64).reshape(2, _A_SIDE**2, -1)
    discs = _discs(rows, columns)
    return [_heat_map(float(whole[phrase]), gains, discs) for phrase, gains in enumerate((alone - covered).T)]


def _heat_map(similarity: float, gains: NDArray[np.float64], discs: NDArray[np.float32]) -> HeatMap:
    spread = float(gains.max() - gains.min())
    if spread <= FLAT_SIMILARITY:
        return HeatMap(similarity, np.zeros(discs.shape[1:], np.float32), float(gains.max()), flat=True)
    # Summed, not averaged over the discs that cover a pixel: few cover the edges, whose averages would be noise.
    weights = np.exp(_SHARPNESS * (gains - gains.max()) / gains.std())
    values = np.tensordot(weights, discs, axes=1)
    values -= values.min()
    return HeatMap(similarity, (values / values.max()).astype(np.float32), float(gains.max()), flat=False)


def _discs(height: int, width: int) -> NDArray[np.float32]:
    """Return how much each disc covers of each pixel: [25, height, width], 0 to 1."""
    centres = np.linspace(_MARGIN, 1 - _MARGIN, _A_SIDE)

    def along(length: int) -> NDArray[np.float64]:
        places = (np.arange(length) + 0.5) / length
        return np.asarray(np.exp(-((places - centres[:, None]) ** 2) / (2 * _RADIUS**2)))

    discs = along(height)[:, None, :, None] * along(width)[None, :, None, :]  # [5, 5, height, width]
    return discs.reshape(-1, height, width).astype(np.float32)


def overlay_of(heat_map: HeatMap, size: tuple[int, int]) -> Image.Image:
    """Return a map as an RGBA overlay of a width and a height, transparent where it is cold."""
    heat = Image.fromarray(np.rint(heat_map.values * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.merge("RGBA", (heat.point(_RED), heat.point(_GREEN), heat.point(_BLUE), heat.point(_ALPHA)))


def _ramp(of_heat: Sequence[int]) -> list[int]:
    """Return 256 values that interpolate the given ones evenly."""
    return [round(value) for value in np.interp(np.linspace(0, len(of_heat) - 1, 256), range(len(of_heat)), of_heat)]


_RED, _GREEN, _BLUE = _ramp([255, 255]), _ramp([220, 0]), _ramp([0, 0])
_ALPHA = _ramp([0, 200])
