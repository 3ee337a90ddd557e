"""Neutral pictures, which show nothing: what a list says of them it says of its phrases, and of no picture.

Drawn here, the same at every start: greys, gradients, noise, and blank canvas and paper.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 256
"""Pixels of a side."""

_SEED = 5_854


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
    """Return clouds: noise of 8 by 8 points, made as large as a picture: [SIZE, SIZE, channels]."""
    clouds = [
        Image.fromarray(rng.normal(128, 60, (8, 8)).astype(np.float32)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        for _ in range(channels)
    ]
    return np.stack([np.asarray(cloud, dtype=np.float64) for cloud in clouds], axis=-1)


def _woven(rng: np.random.Generator, colour: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return a plain weave of threads four pixels thick, none quite like the other: [SIZE, SIZE, 3]."""
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
