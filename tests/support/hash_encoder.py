"""An encoder of plain numpy that needs no model: the same phrase and the same picture have the same features."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot.features import ImageInputs, ModelDescription, Progress, Require, TextFeatures, always
from service.zero_shot.inference_monitor import Pulse
from service.zero_shot.preprocessing.framing import Framing

SIZE = 8
FRAMING = Framing(size=(16, 16), shortest_edge=16, resample=Image.Resampling.BICUBIC, own="stretch")


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return scaled


class HashEncoder:
    """Features from a phrase's hash and from a picture's mean colour; lower and upper case are one, as for CLIP."""

    def __init__(self, logit_scale: float = 100.0, logit_bias: float = 0.0, framing: Framing | None = FRAMING) -> None:
        self.pulse = Pulse()
        self.framing = framing
        self.model = ModelDescription(
            id="hash",
            revision=None,
            backend="numpy",
            precision="float32",
            device="cpu",
            demo=False,
            image_size=16,
            patch_size=4,
            feature_size=SIZE,
            max_tokens=20,
            logit_scale=logit_scale,
            logit_bias=logit_bias,
        )

    def prepare(self, image: Image.Image, cores: int = 1) -> ImageInputs:
        return self.normalised(self.framing(image, self.framing.own, cores) if self.framing else image)

    def normalised(self, small: Image.Image) -> ImageInputs:
        return {"mean": np.asarray(small, dtype=np.float64).mean(axis=(0, 1)) - 100}

    def encode_images(self, prepared: Sequence[ImageInputs], require: Require = always) -> NDArray[np.float32]:
        require()
        return unit(np.array([np.concatenate([picture["mean"], np.ones(SIZE - 3)]) for picture in prepared]))

    def encode_text(
        self,
        phrases: Sequence[str],
        progress: Progress | None = None,
        *,
        require: Require = always,
        remember: bool = False,  # noqa: ARG002  # it takes no longer to make them anew
    ) -> TextFeatures:
        rows = list(dict.fromkeys(phrase.lower() for phrase in phrases))
        features = []
        require()
        for done, row in enumerate(rows, start=1):
            digest = hashlib.sha256(row.encode()).digest()[:SIZE]
            features.append(np.frombuffer(digest, dtype=np.uint8).astype(np.float64) - 127.5)
            if progress:
                progress(done, len(rows))
        if progress:
            progress(len(phrases), len(phrases))
        return TextFeatures(
            unit(np.array(features)),
            np.array([rows.index(phrase.lower()) for phrase in phrases], dtype=np.intp),
            tuple(index for index, phrase in enumerate(phrases) if len(phrase) > self.model.max_tokens),
        )
