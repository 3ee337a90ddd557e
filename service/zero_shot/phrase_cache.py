"""PhraseCache: the features of phrases that callers sent lately, in memory and within a bound."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.zero_shot.preprocessing.tokenizer import TokenIds


@dataclass(frozen=True)
class EncodedPhrase:
    """A phrase's token ids, whether they were cut at the model's limit, and its unit features [feature_size]."""

    token_ids: TokenIds
    cut: bool
    features: NDArray[np.float32]


class PhraseCache:
    """Remembers phrases until they take more than so many bytes, and then forgets those asked for longest ago."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._phrases: OrderedDict[str, EncodedPhrase] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """What the remembered phrases take, roughly."""
        return self._bytes

    def find(self, phrases: Iterable[str]) -> dict[str, EncodedPhrase]:
        """Return those of the phrases that are remembered."""
        with self._lock:
            return {phrase: self._phrases[phrase] for phrase in phrases if phrase in self._phrases}

    def keep(self, encoded: Mapping[str, EncodedPhrase]) -> None:
        """Remember phrases, as the latest that were asked for."""
        with self._lock:
            for phrase, found in encoded.items():
                if phrase not in self._phrases:
                    self._bytes += _bytes_of(phrase, found)
                self._phrases[phrase] = found
                self._phrases.move_to_end(phrase)
            while self._bytes > self._max_bytes:
                self._bytes -= _bytes_of(*self._phrases.popitem(last=False))


def _bytes_of(phrase: str, encoded: EncodedPhrase) -> int:
    # The objects around the text and the array take some 500 bytes more; an id, with its place in the tuple, 40.
    return 4 * len(phrase) + 40 * len(encoded.token_ids) + encoded.features.nbytes + 500
