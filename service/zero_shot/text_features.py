"""Text features of phrases, and the files that keep those of lists from one start to the next."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.cache import CacheFolder, digest_of

log = structlog.get_logger()

Progress = Callable[[int, int], object]
"""Called with how many are done and how many there are in all."""

_FORMAT = 1
"""Increment to invalidate older files."""


@dataclass(frozen=True)
class TextFeatures:
    """The unit text features of n phrases.

    Phrases with the same tokens share one row, so that their similarities are equal to the last bit.

    features: [rows, feature_size] float32, each of unit length
    row_of:   [n], the row of each phrase
    cut:      the indices of the phrases that were truncated
    """

    features: NDArray[np.float32]
    row_of: NDArray[np.intp]
    cut: tuple[int, ...]


EncodeText = Callable[[Sequence[str], Progress], TextFeatures]


class TextFeatureFiles:
    """One safetensors file for each list's exact phrases, memory-mapped, so that processes share it.

    A file belongs to one model (id, revision and the rest of its files), backend, device and precision. Its metadata,
    checksum and shapes are verified: one that is truncated, corrupt or of something else is logged and rebuilt.
    """

    def __init__(self, cache: CacheFolder, fingerprint: str, model: ModelDescription) -> None:
        """fingerprint: names the exact contents of the model's files."""
        self._cache = cache
        self._feature_size = model.feature_size
        made_by = (model.backend, version(model.backend), model.device, model.precision, str(_FORMAT))
        self._model = digest_of(model.id, str(model.revision), fingerprint, *made_by)

    def features_of(
        self,
        name: str,
        phrases: Sequence[str],
        encode: EncodeText,
        progress: Progress,
        waiting: Callable[[], object] = lambda: None,
    ) -> TextFeatures:
        """Return the features of a list's phrases: from its file, or encoded and written to it.

        One process encodes while others wait for it; `waiting` is called if this one has to.
        name: the list's, for the log.
        """
        hashed = digest_of(*phrases)
        entry = f"text-features/{self._model[:16]}/{hashed[:32]}.safetensors"
        if (found := self._read(entry, hashed, len(phrases))) is None:
            with self._cache.lock(entry, waiting):
                if (found := self._read(entry, hashed, len(phrases))) is None:
                    encoded = encode(phrases, progress)
                    log.info("text features encoded", list=name, phrases=len(phrases))
                    if self._cache.write(entry, lambda path: self._write(path, encoded, hashed)):
                        # Mapped rather than kept in memory of this process alone.
                        return self._read(entry, hashed, len(phrases)) or encoded
                    return encoded
        log.info("text features read", list=name, phrases=len(phrases))
        return found

    def _write(self, path: Path, encoded: TextFeatures, hashed: str) -> None:
        tensors: dict[str, NDArray[Any]] = {
            "features": encoded.features,
            "row_of": encoded.row_of.astype(np.int64),
            "cut": np.array(encoded.cut, dtype=np.int64),
        }
        save_file(tensors, path, {"model": self._model, "phrases": hashed, "sha256": _checksum(encoded)})

    def _read(self, entry: str, hashed: str, count: int) -> TextFeatures | None:
        path = self._cache / entry
        try:
            if not path.exists():
                return None
            with safe_open(path, framework="numpy") as file:  # checks that the file is as long as its header says
                metadata = file.metadata() or {}
            if (metadata.get("model"), metadata.get("phrases")) != (self._model, hashed):
                raise ValueError("it is of another model or list")
            found = _mapped(path)
            if metadata.get("sha256") != _checksum(found):
                raise ValueError("its checksum is wrong")
            if found.features.shape[1:] != (self._feature_size,) or len(found.row_of) != count:
                raise ValueError("it is of another width or length")
            return found
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            log.warning("text features unusable", file=path.name, reason=str(error))
            return None


def _mapped(path: Path) -> TextFeatures:
    """Return the tensors of a safetensors file as views of the mapped file.

    Eight bytes give the length of a JSON header, which gives each tensor's place in the bytes that follow
    (github.com/huggingface/safetensors, "Format"); the library itself would copy them.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    contents = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)

    def tensor(name: str, dtype: type[Any]) -> NDArray[Any]:
        about = header[name]
        start, end = about["data_offsets"]
        view: NDArray[Any] = np.asarray(contents[start:end]).view(dtype).reshape(about["shape"])
        return view

    return TextFeatures(
        tensor("features", np.float32),
        tensor("row_of", np.int64),
        tuple(int(index) for index in tensor("cut", np.int64)),
    )


def _checksum(text_features: TextFeatures) -> str:
    digest = hashlib.sha256(text_features.features.data)
    digest.update(text_features.row_of.astype(np.int64).data)
    digest.update(json.dumps(text_features.cut).encode())
    return digest.hexdigest()
