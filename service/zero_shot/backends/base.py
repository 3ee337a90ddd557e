"""What runs a model: the two towers of a CLIP, as passes over arrays; plain numpy outside."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.zero_shot.preprocessing.preparation import ImageInputs, Preprocessor
from service.zero_shot.preprocessing.tokenizer import PhraseTokenizer


@dataclass(frozen=True)
class ModelDescription:
    """Which model answers, and the numbers that a caller may want to know of it."""

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
    """Runs the image tower and the text tower; its features are as the model gives them, of any length."""

    max_concurrent_batches: int
    """Passes that may run side by side: one on a CPU, because a pass uses all its cores."""

    image_batch: int
    """The most pictures of one pass."""

    text_batch: int
    """The phrases of one pass."""

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n prepared pictures, stacked along the first axis."""

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n phrases of the same number of tokens, [n, tokens]."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run, with what prepares its pictures and its phrases."""

    description: ModelDescription
    backend: Backend
    preprocess: Preprocessor
    tokenizer: PhraseTokenizer
