"""Pictures and phrases by which a model on one backend is compared with the same model on another."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.encoder import ClipEncoder

MIN_COSINE = 0.999_999
"""How near the features of one backend must be to torch's."""

PHRASES = (
    "stone",
    "a red circle",
    "a painting of two ships at night, oil on canvas",
    "the river and the bridge at night, and behind them the hills and the mountains and the sea",
    "the river and the bridge " * 30,
)
"""From short to cut off; one of them has a length that is filled up."""


def pictures(seed: int = 0) -> list[Image.Image]:
    """Return four pictures of smooth random colours, others for another seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 7, 9, 3), dtype=np.uint8)
    return [Image.fromarray(picture).resize((640, 480), Image.Resampling.BICUBIC) for picture in small]


def sample_features(loaded: LoadedModel) -> NDArray[np.float32]:
    """Return a model's unit features of the pictures and the phrases, [n, feature_size]."""
    encoder = ClipEncoder(loaded)
    image_features = encoder.encode_images([encoder.prepare(picture) for picture in pictures()])
    return np.concatenate([image_features, encoder.encode_text(PHRASES).features])


def lowest_cosine(features: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """Return the lowest cosine of two sets of unit features, row by row; NaN if one has no number."""
    return float((features * others).sum(axis=1).min())
