"""PhraseTokenizer: phrases -> token ids, truncated at the model's limit; needs no model."""

import functools
import mmap
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

TokenIds = tuple[int, ...]

Encode = Callable[[list[str], int | None], list[list[int]]]
"""Called with phrases and a token limit or None; returns each phrase's ids, with begin and end tokens."""


@dataclass(frozen=True)
class Padding:
    """Padding of short phrases, for models that were trained on phrases of one length."""

    token_id: int
    on_the_left: bool


class PhraseTokenizer:
    """Tokenizes phrases; thread-safe."""

    def __init__(
        self, encode: Encode, max_tokens: int, padding: Padding | None, file_contents: str | None = None
    ) -> None:
        """file_contents: of an equivalent tokenizer.json, if there is one."""
        self.max_tokens = max_tokens
        self.padding = padding
        self.file_contents = file_contents
        self._encode = encode
        # A tokenizer raises "Already borrowed" if another thread sets its limit meanwhile.
        self._lock = threading.Lock()

    @classmethod
    def read(cls, file: Path, max_tokens: int, padding: Padding | None) -> Self:
        """Return the tokenizer that a tokenizer.json describes. Raises OSError or ValueError.

        The file is parsed with the first phrase; it is mapped, so it may be deleted before.
        """
        with file.open("rb") as opened:
            contents = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)

        @functools.cache
        def parsed() -> Tokenizer:
            tokenizer = Tokenizer.from_buffer(contents[:])
            tokenizer.no_padding()
            return tokenizer

        def encode(phrases: list[str], limit: int | None) -> list[list[int]]:
            tokenizer = parsed()
            if limit is None:
                tokenizer.no_truncation()
            else:
                tokenizer.enable_truncation(limit)
            return [encoding.ids for encoding in tokenizer.encode_batch(phrases)]

        return cls(encode, max_tokens, padding)

    def __call__(self, phrases: Sequence[str]) -> tuple[list[TokenIds], tuple[int, ...]]:
        """Return each phrase's token ids, and the indices of those that were truncated."""
        with self._lock:
            token_ids = self._encode(list(phrases), None)
            cut = tuple(index for index, ids in enumerate(token_ids) if len(ids) > self.max_tokens)
            if cut:
                shortened = self._encode([phrases[index] for index in cut], self.max_tokens)
                for index, ids in zip(cut, shortened, strict=True):
                    token_ids[index] = ids
        return [self._padded(tuple(ids)) for ids in token_ids], cut

    def _padded(self, ids: TokenIds) -> TokenIds:
        if self.padding is None:
            return ids
        filling = (self.padding.token_id,) * (self.max_tokens - len(ids))
        return filling + ids if self.padding.on_the_left else ids + filling
