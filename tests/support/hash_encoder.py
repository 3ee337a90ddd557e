"""An encoder on a backend of plain numpy that needs no model: the same phrase and picture have the same features."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot.backends.base import LoadedModel, ModelDescription
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.preprocessing.preparation import CroppableImage, Framing, ImageInputs
from service.zero_shot.preprocessing.tokenizer import PhraseTokenizer

SIZE = 8
MAX_TOKENS = 20
FRAMING = Framing(size=(16, 16), shortest_edge=16, resample=Image.Resampling.BICUBIC, own="stretch")
_END = 0x110000  # no character


class MeanColour:
    """Prepares a picture as its mean colour, of what the framing shows of it."""

    def __init__(self, framing: Framing | None) -> None:
        self.framing = framing

    def __call__(self, image: Image.Image | CroppableImage, cores: int = 1) -> ImageInputs:
        if self.framing:
            image = self.framing(image, self.framing.own, cores)
        assert isinstance(image, Image.Image)
        return self.normalised(image)

    def normalised(self, small: Image.Image) -> ImageInputs:
        return {"mean": np.asarray(small, dtype=np.float64).mean(axis=(0, 1)) - 100}


class HashBackend:
    """Features from the hash of a phrase's tokens, and from a picture's mean colour."""

    max_concurrent_batches = 1
    image_batch = 8
    text_batch = 1

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        means = inputs["mean"]
        return np.hstack([means, np.ones((len(means), SIZE - means.shape[1]))]).astype(np.float32)

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        digests = [hashlib.sha256(row[row != _END].tobytes()).digest()[:SIZE] for row in token_ids]
        return np.array([np.frombuffer(each, dtype=np.uint8) - 127.5 for each in digests], dtype=np.float32)


def _tokens(phrases: Sequence[str], limit: int | None) -> list[list[int]]:
    """Return the characters of each phrase, lower and upper case as one, as CLIP has it, and what ends a phrase."""
    return [[*[*map(ord, phrase.lower())][: None if limit is None else limit - 1], _END] for phrase in phrases]


class HashEncoder(ClipEncoder):
    """A ClipEncoder with all its parts, on a backend that hashes."""

    def __init__(self, logit_scale: float = 100.0, logit_bias: float = 0.0, framing: Framing | None = FRAMING) -> None:
        model = ModelDescription(
            id="hash",
            revision=None,
            backend="numpy",
            precision="float32",
            device="cpu",
            demo=False,
            image_size=16,
            patch_size=4,
            feature_size=SIZE,
            max_tokens=MAX_TOKENS,
            logit_scale=logit_scale,
            logit_bias=logit_bias,
        )
        tokenizer = PhraseTokenizer(_tokens, MAX_TOKENS + 1, None)  # with the one that ends a phrase
        super().__init__(LoadedModel(model, HashBackend(), MeanColour(framing), tokenizer))
