"""Models converted for OpenVINO in the cache: one folder a model, which runs without torch."""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from service.zero_shot.backends.base import LoadedModel, ModelDescription
from service.zero_shot.backends.openvino_backend import OpenVinoBackend
from service.zero_shot.backends.parity_check import MIN_COSINE, lowest_cosine, sample_features
from service.zero_shot.cache import CacheFolder, digest_of
from service.zero_shot.model_files import ModelFiles
from service.zero_shot.preprocessing.preparation import Preparation
from service.zero_shot.preprocessing.tokenizer import Padding, PhraseTokenizer

log = structlog.get_logger()

IMAGE_TOWER, TEXT_TOWER = "image_tower.xml", "text_tower.xml"
TOKENIZER = "tokenizer.json"
SAMPLE_FEATURES = "sample_features.npy"
_MODEL = "model.json"
_FORMAT = 3
"""Increment to invalidate older entries."""


@dataclass(frozen=True)
class Unconvertible:
    """Why OpenVINO cannot run a model, for the log.

    lasting: whether another attempt would fail as well
    """

    reason: str
    lasting: bool = True


@dataclass(frozen=True)
class CachedModel:
    """What is needed to run a model besides its towers and its tokenizer.

    has_tokenizer_file: False if only transformers can read its tokenizer
    """

    description: ModelDescription
    preparation: Preparation
    padding: Padding | None
    has_tokenizer_file: bool


def entry_of(files: ModelFiles, fingerprint: str) -> str:
    """Return the name of a model's entry in the cache; it depends on the model's contents and on what converts it."""
    converted_by = (
        platform.machine(),
        *(version(name) for name in ("openvino", "torch", "transformers")),
        str(_FORMAT),
    )
    return f"converted/{digest_of(files.model_id, str(files.revision), fingerprint, *converted_by)[:32]}"


def write_cached(folder: Path, converted: CachedModel) -> None:
    """Complete a folder that has the towers with the rest, and a checksum of each file."""
    checksums = {file.name: _checksum(file) for file in sorted(folder.iterdir())}
    _write_contents(folder, {**asdict(converted), "checksums": checksums})


def write_unconvertible(folder: Path, verdict: Unconvertible) -> None:
    """Make a folder that says why the model is not in it, so that it is not attempted again."""
    folder.mkdir()
    _write_contents(folder, {"unsuitable": verdict.reason})


def read_cached(cache: CacheFolder, entry: str) -> CachedModel | Unconvertible | None:
    """Return an entry of the cache; None if it does not exist, or is corrupt, which is logged."""
    folder = cache / entry
    try:
        if not (folder / _MODEL).exists():
            return None
        contents = _read_contents(folder)
        if "unsuitable" in contents:
            return Unconvertible(str(contents["unsuitable"]))
        for name, expected in contents["checksums"].items():
            if _checksum(folder / name) != expected:
                raise ValueError(f"the checksum of {name} is wrong")
        return _parsed(contents)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("converted model unusable", folder=folder.name, reason=str(error))
        return None


def load_cached(
    folder: Path, converted: CachedModel, files: ModelFiles, precision: str, threads: int, *, compare: bool
) -> LoadedModel | Unconvertible:
    """Return a folder's model, ready to run on the CPU, or why it cannot run on this one.

    compare: whether to compare its float32 features with torch's again; it may be from another machine
    """
    description = replace(converted.description, backend="openvino", precision=precision, device="cpu")
    try:
        if converted.has_tokenizer_file:
            tokenizer = PhraseTokenizer.read(folder / TOKENIZER, description.max_tokens, converted.padding)
        else:
            # Imported here, because it brings torch, which most models can do without.
            from service.zero_shot.preprocessing.processors import load_tokenizer  # noqa: PLC0415

            tokenizer = load_tokenizer(files, description.max_tokens)
        backend = OpenVinoBackend(folder / IMAGE_TOWER, folder / TEXT_TOWER, precision, threads)
        loaded = LoadedModel(description, backend, converted.preparation, tokenizer)
        if compare and precision == "float32":
            cosine = lowest_cosine(np.load(folder / SAMPLE_FEATURES), sample_features(loaded))
            if not cosine >= MIN_COSINE:
                return Unconvertible(f"its features differ on this machine (cosine {cosine:.7f})", lasting=False)
    except (RuntimeError, OSError, ValueError) as error:  # OpenVINO raises RuntimeError for everything
        return Unconvertible(f"it cannot be run ({type(error).__name__})", lasting=False)
    return loaded


def _write_contents(folder: Path, contents: dict[str, Any]) -> None:
    text = json.dumps({**contents, "checksum": _checksum_of(contents)}, indent=2)
    (folder / _MODEL).write_text(text, encoding="utf-8")


def _read_contents(folder: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((folder / _MODEL).read_text(encoding="utf-8"))
    if contents.pop("checksum") != _checksum_of(contents):
        raise ValueError(f"the checksum of {_MODEL} is wrong")
    return contents


def _checksum_of(contents: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _parsed(contents: dict[str, Any]) -> CachedModel:
    preparation: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in contents["preparation"].items()
    }
    return CachedModel(
        description=ModelDescription(**contents["description"]),
        preparation=Preparation(**preparation),
        padding=Padding(**contents["padding"]) if contents["padding"] else None,
        has_tokenizer_file=bool(contents["has_tokenizer_file"]),
    )


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
