"""The interface of backends: the two towers of a CLIP, on numpy arrays."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.zero_shot.preprocessing.preparation import ImageInputs, Preprocessor
from service.zero_shot.preprocessing.tokenizer import PhraseTokenizer


@dataclass(frozen=True)
class ModelDescription:
    """A model's identity, and the numbers that describe it."""

    id: str
    revision: str | None
    backend: str
    precision: str
    device: str
    demo: bool
    image_size: int
    patch_size: int
    feature_size: int
    max_tokens: int
    logit_scale: float
    logit_bias: float


class Backend(Protocol):
    """Runs the image tower and the text tower; features are not normalised."""

    max_concurrent_batches: int
    """Passes that may run at the same time: one on a CPU, because a pass uses all cores."""

    image_batch: int
    """The most pictures in one pass."""

    text_batch: int
    """The number of phrases in one pass."""

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n prepared pictures, stacked along the first axis."""

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n phrases of the same number of tokens, [n, tokens]."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run, with its preprocessing and tokenizer."""

    description: ModelDescription
    backend: Backend
    preprocess: Preprocessor
    tokenizer: PhraseTokenizer
