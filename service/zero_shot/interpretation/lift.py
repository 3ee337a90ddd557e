"""Lift: how much a picture raises a phrase over what the same list gives for neutral pictures, which show nothing.

Some phrases win on any picture, because they are common or close to everything in the model's space; neutral pictures
reveal them. To a model a neutral picture is nothing special, though: it recognises a grey ground. So a picture that is
itself nearly a neutral one is compared with that one, and all others with all of them. Neutral pictures are drawn here,
the same at every start: greys, gradients, noise, and blank canvas and paper.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LIFT_BOUND = 1.05
"""On the neutral pictures themselves every phrase's lift lies between 1 / LIFT_BOUND and LIFT_BOUND, on the demo model.

That is because each of them is compared with itself. Another canvas or noise of the same kind can be as far from
all of them as a picture of something: to the demo model one canvas is not like another.
"""

NONE_OF_THESE_BELOW = 2.0
"""With less evidence than this a picture shows nothing of a list. Measured on the demo model alone: right for 95 %
of 600 drawn pictures; not known for models that were trained on photographs."""

_NEARNESS = 300.0
_FAR = 1e-4
"""A neutral picture has the weight exp(_NEARNESS * (cosine - 1)), and all of them share _FAR: one with a cosine of 0.97
weighs about as much as all together."""

SIZE = 256
"""Pixels of a side."""

_SEED = 5_854


@dataclass(frozen=True)
class Neutral:
    """The unit features [n, feature_size] of n neutral pictures, and the distribution of their similarities.

    mean, deviation: of the similarities with all served phrases
    """

    features: NDArray[np.float32]
    mean: float
    deviation: float

    def lifts(
        self, image_features: NDArray[np.float32], log_probabilities: NDArray[np.float64], neutral: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the lift of each phrase of a list: [count].

        image_features:    [feature_size], of the picture, of unit length
        log_probabilities: [count], of the list's phrases for the picture
        neutral:           [n, count], the same for each neutral picture
        """
        weights = _FAR / len(self.features) + np.exp(_NEARNESS * (self.features @ image_features - 1.0))
        weights /= weights.sum()
        return np.asarray(np.exp(np.clip(log_probabilities - weights @ neutral, -700.0, 700.0)))

    def evidence(self, similarities: NDArray[np.float32], neutral: NDArray[np.float32]) -> float:
        """Return how far the best phrase's similarity lies above that of neutral pictures, in standard deviations.

        The mean of two distances: from neutral pictures' similarities with all phrases, and with this one.

        similarities: [count], of the picture; neutral: [n, count], of each neutral picture
        """
        best = int(similarities.argmax())
        of_best = float(similarities[best])
        above_any, above_this = of_best - self.mean, of_best - float(neutral[:, best].mean())
        return (above_any + above_this) / (2 * self.deviation)


def neutral_pictures(seed: int = _SEED) -> dict[str, Image.Image]:
    """Return the neutral pictures by name; with another seed, others of the same kinds."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    from_middle = np.hypot(down - 0.5, across - 0.5)
    pictures = {f"grey {level}": np.full((SIZE, SIZE), float(level)) for level in (0, 64, 128, 192, 255)}
    pictures |= {
        "gradient down": 255 * down,
        "gradient across": 255 * across,
        "gradient aslant": 127.5 * (down + across),
        "vignette": 230 - 200 * from_middle,
        "fine noise": rng.normal(128, 50, (SIZE, SIZE)),
        "fine coloured noise": rng.normal(128, 50, (SIZE, SIZE, 3)),
        "coarse noise": _coarse(rng, 1),
        "coarse coloured noise": _coarse(rng, 3),
        "white canvas": _woven(rng, (238, 235, 228)),
        "raw canvas": _woven(rng, (205, 188, 158)),
        "paper": np.array((243, 238, 226)) + rng.normal(0, 4, (SIZE, SIZE, 1)) + 0.08 * (_coarse(rng, 1) - 128),
    }
    return {name: _picture(samples) for name, samples in pictures.items()}


def _coarse(rng: np.random.Generator, channels: int) -> NDArray[np.float64]:
    """Return clouds: noise of 8 by 8 points, upscaled: [SIZE, SIZE, channels]."""
    clouds = [
        Image.fromarray(rng.normal(128, 60, (8, 8)).astype(np.float32)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        for _ in range(channels)
    ]
    return np.stack([np.asarray(cloud, dtype=np.float64) for cloud in clouds], axis=-1)


def _woven(rng: np.random.Generator, colour: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return a plain weave of slightly different threads, four pixels thick: [SIZE, SIZE, 3]."""
    place = np.arange(SIZE)
    thread = np.abs(np.sin(np.pi * (place + 0.5) / 4))
    over = (place[:, None] // 4 + place[None] // 4) % 2
    height = np.where(over, thread[:, None], thread[None])
    uneven = 1 + np.repeat(rng.normal(0, 0.03, SIZE // 4), 4)
    shades = (0.85 + 0.15 * height) * uneven[:, None] * uneven[None]
    return np.asarray(shades[..., None] * np.array(colour) + rng.normal(0, 3, (SIZE, SIZE, 1)))


def _picture(samples: NDArray[np.float64]) -> Image.Image:
    """Return grey samples [SIZE, SIZE] or [SIZE, SIZE, 1], or coloured ones [SIZE, SIZE, 3], as an RGB picture."""
    if samples.ndim == 2:
        samples = samples[..., None]
    eight_bits = np.clip(np.rint(samples), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(eight_bits, (SIZE, SIZE, 3))))
