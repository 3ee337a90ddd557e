"""What an encoder gives and what it says of itself; plain numpy, so that whoever uses features needs no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot.inference_monitor import Pulse
from service.zero_shot.preprocessing.framing import Framing

Progress = Callable[[int, int], object]
"""Called with how many are done and how many there are in all."""

Require = Callable[[], None]
"""Raises where what it was given for is no longer wanted; quick, because others wait meanwhile."""


def always() -> None:
    """Want it in any case."""


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


@dataclass(frozen=True)
class TextFeatures:
    """The unit text features of n phrases.

    Phrases that the tokenizer makes the same share one row, so that their similarities are equal to the last bit.

    features: [rows, feature_size] float32, each of unit length
    row_of:   [n], the row of each phrase
    cut:      the indices of the phrases that were cut at the model's token limit
    """

    features: NDArray[np.float32]
    row_of: NDArray[np.intp]
    cut: tuple[int, ...]


ImageInputs = Mapping[str, NDArray[Any]]
"""What an image tower takes: arrays by name, of one prepared picture, or of several along a first axis."""


class Prepare(Protocol):
    """Makes of a picture what an image tower takes."""

    def __call__(self, image: Image.Image, cores: int = 1) -> ImageInputs:
        """Return what the tower takes of one upright RGB image; `cores` are free for it."""


class Encoder(Protocol):
    """Turns images and phrases into features of one space, each of unit length."""

    @property
    def model(self) -> ModelDescription:
        """The model that this encoder runs."""

    @property
    def pulse(self) -> Pulse:
        """Whether the model still answers."""

    @property
    def prepare(self) -> Prepare:
        """What makes of one upright RGB image what the model takes."""

    @property
    def framing(self) -> Framing | None:
        """How pictures come to the model's size; None where that is not one size for all."""

    def normalised(self, small: Image.Image) -> ImageInputs:
        """Return what the tower takes of one RGB picture that is at the model's size."""

    def encode_images(self, prepared: Sequence[ImageInputs], require: Require = always) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of n prepared pictures; `require` is called before each pass."""

    def encode_text(
        self,
        phrases: Sequence[str],
        progress: Progress | None = None,
        *,
        require: Require = always,
        remember: bool = False,
    ) -> TextFeatures:
        """Return the unit features of the phrases, in their order.

        require: is called before each pass; remember: keep them for the next time
        """
