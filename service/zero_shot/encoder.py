"""ClipEncoder: images and phrases -> unit features, on whatever backend runs the model; plain numpy."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import CorruptModel, InvalidSettings
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.batching import CancelCheck, DynamicBatcher, never_cancelled
from service.zero_shot.preprocessing.preparation import ImageInputs
from service.zero_shot.preprocessing.tokenizer import TokenIds
from service.zero_shot.text_features import Progress, TextFeatures

PHRASE_CACHE_BYTES = 64 * 1024**2
"""Enough for some 20,000 phrases of 512 features."""


@dataclass(frozen=True)
class EncodedPhrase:
    """A phrase's token ids, whether they were truncated, and its unit features [feature_size]."""

    token_ids: TokenIds
    cut: bool
    features: NDArray[np.float32]


class PhraseCache:
    """An LRU cache of encoded phrases, bounded by the bytes that they take; thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._phrases: OrderedDict[str, EncodedPhrase] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Estimated size of all entries."""
        return self._bytes

    def find(self, phrases: Iterable[str]) -> dict[str, EncodedPhrase]:
        """Return those of the phrases that are cached."""
        with self._lock:
            return {phrase: self._phrases[phrase] for phrase in phrases if phrase in self._phrases}

    def keep(self, encoded: Mapping[str, EncodedPhrase]) -> None:
        """Add phrases as the most recently used."""
        with self._lock:
            for phrase, found in encoded.items():
                if phrase not in self._phrases:
                    self._bytes += _bytes_of(phrase, found)
                self._phrases[phrase] = found
                self._phrases.move_to_end(phrase)
            while self._bytes > self._max_bytes:
                self._bytes -= _bytes_of(*self._phrases.popitem(last=False))


def _bytes_of(phrase: str, encoded: EncodedPhrase) -> int:
    # The objects around text and array take some 500 bytes more; an id in its tuple takes 40.
    return 4 * len(phrase) + 40 * len(encoded.token_ids) + encoded.features.nbytes + 500


class ClipEncoder:
    """A model of the CLIP or SigLIP family; thread-safe.

    model:      describes the model that it runs
    monitor:    tracks its passes
    preprocess: turns one upright RGB image into the image tower's inputs; knows nothing of the model
    """

    def __init__(self, loaded: LoadedModel, phrase_cache_bytes: int = PHRASE_CACHE_BYTES) -> None:
        self.model = loaded.description
        self.preprocess = loaded.preprocess
        self._loaded = loaded
        self._batcher = DynamicBatcher(loaded.backend)
        self.monitor = self._batcher.monitor
        self._phrase_cache = PhraseCache(phrase_cache_bytes)

    def encode_images(
        self, prepared: Sequence[ImageInputs], check: CancelCheck = never_cancelled
    ) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of n prepared pictures.

        Raises what `check` raises, before each pass, and MemoryError.
        """
        features = self._batcher.image_features(prepared, check)
        unit: NDArray[np.float32] = features / np.linalg.norm(features, axis=-1, keepdims=True)
        return unit

    def encode_text(
        self,
        phrases: Sequence[str],
        progress: Progress | None = None,
        *,
        check: CancelCheck = never_cancelled,
        remember: bool = False,
    ) -> TextFeatures:
        """Return the unit features of the phrases, in their order; cached ones are not encoded again.

        Each batch has a shape that depends on the length of its phrases alone, so that a phrase's features do not
        depend on its batch, nor on the cache. Raises as encode_images does.

        remember: add them to the cache
        """
        encoded = self._phrase_cache.find(phrases)
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in encoded]
        encoded |= self._encode(new, progress, check)
        if remember:
            self._phrase_cache.keep(encoded)
        rows: dict[TokenIds, int] = {}
        row_of = np.array([rows.setdefault(encoded[phrase].token_ids, len(rows)) for phrase in phrases], dtype=np.intp)
        features = np.empty((len(rows), self.model.feature_size), dtype=np.float32)
        for phrase in encoded.values():
            features[rows[phrase.token_ids]] = phrase.features
        return TextFeatures(features, row_of, tuple(i for i, phrase in enumerate(phrases) if encoded[phrase].cut))

    def check_answers(self, *, pictures_only: bool = False) -> None:
        """Raise CorruptModel if the model does not fit its tokenizer or preprocessing, or returns NaN."""
        try:
            features = [self.encode_images([self.preprocess(Image.new("RGB", (64, 48), "grey"))])]
            if not pictures_only:
                features.append(self.encode_text(["a picture"]).features)
        except MemoryError:
            raise InvalidSettings(
                f"The device {self.model.device} has too little free memory for {self.model.id}; set GAZE_DEVICE=cpu "
                "or take a smaller model."
            ) from None
        except Exception as error:  # mismatched parts raise anything
            raise CorruptModel(
                f"The parts of {self.model.id} do not fit together ({type(error).__name__}); "
                "fetch it anew, or take another model."
            ) from error
        if not all(np.isfinite(numbers).all() for numbers in features):
            raise CorruptModel(
                f"The model {self.model.id} does not give numbers, so its weights are broken; fetch them anew."
            )

    def _encode(
        self, phrases: Sequence[str], progress: Progress | None, check: CancelCheck
    ) -> dict[str, EncodedPhrase]:
        """Return the phrases, each once, encoded."""
        if not phrases:
            return {}
        token_ids, cut = self._loaded.tokenizer(phrases)
        features: dict[TokenIds, NDArray[np.float32]] = {}
        distinct = list(dict.fromkeys(token_ids))
        for batch in self._batches(distinct):
            for ids, row in zip(batch, self._encode_tokens(batch, check), strict=True):
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
        """Return the padded length of a phrase of so many tokens: short ones stay, longer ones share a few lengths.

        OpenVINO keeps memory for each shape.
        """
        return tokens if tokens <= 16 else min(-(-tokens // 8) * 8, max(self.model.max_tokens, tokens))

    def _encode_tokens(self, batch: Sequence[TokenIds], check: CancelCheck) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of n phrases of one padded length."""
        length = self._padded_length(len(batch[0]))
        full = [*batch, *[batch[-1]] * (self._loaded.backend.text_batch - len(batch))]
        # Padded with the end token: CLIP's text tower is causal, and pools at the first end token. [text_batch, length]
        token_ids = np.array([ids + ids[-1:] * (length - len(ids)) for ids in full], dtype=np.int64)
        features = self._batcher.text_features(token_ids, check)[: len(batch)]
        unit: NDArray[np.float32] = features / np.linalg.norm(features, axis=-1, keepdims=True)
        return unit
