"""ClipEncoder: images and phrases -> unit features, on whatever backend runs the model; plain numpy."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import CorruptModel, InvalidSettings
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.batching import Passes
from service.zero_shot.features import ImageInputs, Prepare, Progress, Require, TextFeatures, always
from service.zero_shot.phrase_cache import EncodedPhrase, PhraseCache
from service.zero_shot.preprocessing.framing import Framing
from service.zero_shot.preprocessing.preparation import Preparation
from service.zero_shot.preprocessing.tokenizer import TokenIds

PHRASE_CACHE_BYTES = 64 * 1024**2
"""What remembered phrases may take: some 20,000 of them at 512 numbers each."""


class ClipEncoder:
    """A model of the CLIP or SigLIP family; safe to call from several threads.

    model:   the model that it runs
    pulse:   whether the model still answers
    prepare: resizes, cuts and normalises one upright RGB image as the model wants it; knows nothing of the model
    """

    def __init__(self, loaded: LoadedModel, phrase_cache_bytes: int = PHRASE_CACHE_BYTES) -> None:
        self.model = loaded.description
        self.prepare: Prepare = loaded.prepare
        self._loaded = loaded
        self._passes = Passes(loaded.backend)
        self.pulse = self._passes.pulse
        self._phrase_cache = PhraseCache(phrase_cache_bytes)

    @property
    def framing(self) -> Framing | None:
        """How pictures come to the model's size; None where that is not one size for all."""
        prepare = self._loaded.prepare
        return prepare.framing if isinstance(prepare, Preparation) else None

    def normalised(self, small: Image.Image) -> ImageInputs:
        """Return what the tower takes of one RGB picture that is at the model's size."""
        prepare = self._loaded.prepare
        return prepare.normalised(small) if isinstance(prepare, Preparation) else prepare(small)

    def encode_images(self, prepared: Sequence[ImageInputs], require: Require = always) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of n prepared pictures.

        What `require` raises is raised, before the pass that it was called for. Raises MemoryError.
        """
        return _unit(self._passes.image_features(prepared, require))

    def encode_text(
        self,
        phrases: Sequence[str],
        progress: Progress | None = None,
        *,
        require: Require = always,
        remember: bool = False,
    ) -> TextFeatures:
        """Return the unit features of the phrases, in their order; those that are remembered are not encoded anew.

        Each batch has a shape that depends on the length of its phrases alone, so that a phrase's features do not
        depend on its company, nor on whether it was remembered. Raises as encode_images does.
        """
        encoded = self._phrase_cache.find(phrases)
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in encoded]
        encoded |= self._encode(new, progress, require)
        if remember:
            self._phrase_cache.keep(encoded)
        rows: dict[TokenIds, int] = {}
        row_of = np.array([rows.setdefault(encoded[phrase].token_ids, len(rows)) for phrase in phrases], dtype=np.intp)
        features = np.empty((len(rows), self.model.feature_size), dtype=np.float32)
        for phrase in encoded.values():
            features[rows[phrase.token_ids]] = phrase.features
        return TextFeatures(features, row_of, tuple(i for i, phrase in enumerate(phrases) if encoded[phrase].cut))

    def check_answers(self, *, pictures_only: bool = False) -> None:
        """Raise CorruptModel if the model cannot take what its tokenizer and preparation make, or gives no numbers."""
        try:
            features = [self.encode_images([self.prepare(Image.new("RGB", (64, 48), "grey"))])]
            if not pictures_only:
                features.append(self.encode_text(["a picture"]).features)
        except MemoryError:
            raise InvalidSettings(
                f"The device {self.model.device} has too little free memory for {self.model.id}; set GAZE_DEVICE=cpu "
                "or take a smaller model."
            ) from None
        except Exception as error:  # what does not fit together shows in many ways
            raise CorruptModel(
                f"The parts of {self.model.id} do not fit together ({type(error).__name__}); "
                "fetch it anew, or take another model."
            ) from error
        if not all(np.isfinite(numbers).all() for numbers in features):
            raise CorruptModel(
                f"The model {self.model.id} does not give numbers, so its weights are broken; fetch them anew."
            )

    def _encode(self, phrases: Sequence[str], progress: Progress | None, require: Require) -> dict[str, EncodedPhrase]:
        """Return the phrases, each of them once, with their features."""
        if not phrases:
            return {}
        token_ids, cut = self._loaded.tokenizer(phrases)
        features: dict[TokenIds, NDArray[np.float32]] = {}
        distinct = list(dict.fromkeys(token_ids))
        for batch in self._batches(distinct):
            for ids, row in zip(batch, self._encode_tokens(batch, require), strict=True):
                features[ids] = row.copy()  # a view would keep the whole batch in memory
            if progress:
                progress(len(features) * len(phrases) // len(distinct), len(phrases))
        was_cut = set(cut)
        return {
            phrase: EncodedPhrase(ids, index in was_cut, features[ids])
            for index, (phrase, ids) in enumerate(zip(phrases, token_ids, strict=True))
        }

    def _batches(self, token_ids: Sequence[TokenIds]) -> list[list[TokenIds]]:
        """Return the phrases in batches of one length each, the shortest first."""
        by_length: defaultdict[int, list[TokenIds]] = defaultdict(list)
        for ids in token_ids:
            by_length[self._padded_length(len(ids))].append(ids)
        size = self._loaded.backend.text_batch
        return [
            same[start : start + size] for _, same in sorted(by_length.items()) for start in range(0, len(same), size)
        ]

    def _padded_length(self, tokens: int) -> int:
        """Return how long a phrase of so many tokens is made: short ones stay, longer ones share a few lengths.

        OpenVINO keeps something for each shape that it has met.
        """
        return tokens if tokens <= 16 else min(-(-tokens // 8) * 8, max(self.model.max_tokens, tokens))

    def _encode_tokens(self, batch: Sequence[TokenIds], require: Require) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of n phrases of one padded length."""
        length = self._padded_length(len(batch[0]))
        full = [*batch, *[batch[-1]] * (self._loaded.backend.text_batch - len(batch))]
        # What follows the token that ends a phrase does not count: CLIP's text tower looks back only, and takes the
        # features at the first such token. [text_batch, length]
        token_ids = np.array([ids + ids[-1:] * (length - len(ids)) for ids in full], dtype=np.int64)
        return _unit(self._passes.text_features(token_ids, require)[: len(batch)])


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = features / np.linalg.norm(features, axis=-1, keepdims=True)
    return unit
