"""A model's name -> its files on this machine, fetched from the Hugging Face hub where they are not there yet.

Nothing that is fetched is run: only configuration, tokenizer and weight files are, and no code.
"""

import errno
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from service.errors import CorruptModel, ModelUnavailable, StartError, UnsuitableModel

DEMO = "demo"
DEFAULT_MODEL = "openai/clip-vit-base-patch32"
DEFAULT_REVISION = "b97b0100e55e367c057773c2a614676470b0d575"
FAMILIES = ("clip", "siglip", "siglip2")
"""The values of `model_type` in config.json that this service can use."""

_COMPANIONS = (
    "config.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
)
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In the order of preference; an index names the files that the weights are split into."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine: where its files lie, and which it is."""

    directory: Path
    model_id: str
    revision: str | None
    demo: bool = False


def fetch(model: str, revision: str | None) -> ModelFiles:
    """Return the model's files, fetching and checking what is missing; with HF_HUB_OFFLINE=1 nothing is asked for.

    model: a hub id, a directory, or "demo"; revision: of a hub id, None for the pinned one or the hub's main branch.
    Raises UnsuitableModel, CorruptModel or ModelUnavailable.
    """
    if model == DEMO or _is_directory(model):
        return locate(model, revision)
    revision = revision or _pinned_revision(model)
    if constants.HF_HUB_OFFLINE or _COMMIT.fullmatch(revision):
        # A commit never changes, so what lies in the cache needs no look at the hub.
        try:
            files = locate(model, revision)
        except StartError:
            if constants.HF_HUB_OFFLINE:
                raise
        else:
            _check_contents(files)
            return files
    try:
        _download(model, revision)
    except (OSError, ValueError, httpx2.HTTPError, HfHubHTTPError) as error:
        raise _explained(error, model, revision) from None
    files = locate(model, revision)
    _check_contents(files)
    return files


def locate(model: str, revision: str | None) -> ModelFiles:
    """Return the model's files as they lie on this machine, without asking the hub for anything.

    Raises UnsuitableModel, CorruptModel or ModelUnavailable.
    """
    if model == DEMO:
        directory = demo_folder()
        return ModelFiles(directory, DEMO, _weights_hash(directory), demo=True)
    if _is_directory(model):
        directory = Path(model)
        if not directory.is_dir():
            raise ModelUnavailable(f"GAZE_MODEL names the directory {model}, and there is none; correct the path.")
        check_family(directory / "config.json", model)
        _require_files(directory, model)
        return ModelFiles(directory, str(directory.resolve().name), _weights_hash(directory))
    revision = revision or _pinned_revision(model)
    try:
        config = try_to_load_from_cache(model, "config.json", revision=revision)
    except HFValidationError:
        raise _no_such_name(model) from None
    if not isinstance(config, str):
        raise ModelUnavailable(
            f"The model {model} at revision {revision} is not in the cache ({constants.HF_HUB_CACHE}); "
            "run 'gaze prepare' where the hub can be reached, or set GAZE_MODEL=demo to try the service without it."
        )
    directory = Path(config).parent
    check_family(directory / "config.json", model)
    _require_files(directory, model)
    return ModelFiles(directory, model, directory.name)


def demo_folder() -> Path:
    """Return the folder of the demo model: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "models" / "demo"
    return installed if installed.is_dir() else package.parent / "models" / "demo"


def check_family(config: Path, model: str) -> dict[str, Any]:
    """Return config.json's contents. Raises UnsuitableModel if the model is of no family that this service can use."""
    try:
        contents = json.loads(config.read_text(encoding="utf-8"))
        family = contents.get("model_type")
    except FileNotFoundError:
        raise CorruptModel(f"The model {model} has no config.json; give a model in transformers' format.") from None
    except (OSError, ValueError, AttributeError):
        raise CorruptModel(f"The model {model} has a config.json that cannot be read; {_mend(config.parent)}") from None
    if family not in FAMILIES:
        kind = f"of the kind '{family}'" if isinstance(family, str) and family.isprintable() else "of an unnamed kind"
        raise UnsuitableModel(
            f"The model {model} is {kind}, and this service needs one of the CLIP or SigLIP family "
            f"({', '.join(FAMILIES)}); set GAZE_MODEL to such a model."
        )
    return dict(contents)


def weight_files(directory: Path) -> tuple[Path, ...]:
    """Return the files that hold the weights, safetensors before pickles; empty if there are none."""
    for name in _WEIGHTS:
        path = directory / name
        if path.is_file():
            return (path,) if not name.endswith(".index.json") else _named_in(path)
    return ()


def _is_directory(model: str) -> bool:
    return model.startswith(("/", ".", "~")) or Path(model).is_dir()


def _pinned_revision(model: str) -> str:
    return DEFAULT_REVISION if model == DEFAULT_MODEL else "main"


def _download(model: str, revision: str) -> None:
    """Bring config.json, and, if the family fits, the rest that is needed into the hub's cache."""
    config = Path(snapshot_download(model, revision=revision, allow_patterns=["config.json"])) / "config.json"
    check_family(config, model)
    there = set(HfApi().list_repo_files(model, revision=revision))
    weights = next((name for name in _WEIGHTS if name in there), None)
    if weights is None:
        raise UnsuitableModel(
            f"The model {model} has no weights that are read here (model.safetensors or pytorch_model.bin); "
            "set GAZE_MODEL to another model."
        )
    wanted = [*_COMPANIONS, weights]
    if weights.endswith(".index.json"):
        index = Path(snapshot_download(model, revision=revision, allow_patterns=[weights])) / weights
        wanted += [file.name for file in _named_in(index)]
    snapshot_download(model, revision=revision, allow_patterns=wanted)


def _named_in(index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if all(isinstance(name, str) and Path(name).name == name for name in names):
            return tuple(index.parent / name for name in names)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        pass
    raise CorruptModel(f"The file {index.name} of the model is broken; {_mend(index.parent)}")


def _require_files(directory: Path, model: str) -> None:
    weights = weight_files(directory)
    missing = [file.name for file in weights if not file.is_file()]
    if not weights:
        missing.append("model.safetensors or pytorch_model.bin")
    if not (directory / "preprocessor_config.json").is_file():
        missing.append("preprocessor_config.json")
    if not any((directory / name).is_file() for name in ("tokenizer.json", "vocab.json", "spiece.model")):
        missing.append("tokenizer.json")
    if missing:
        raise CorruptModel(f"The model {model} lacks {', '.join(missing)}; {_mend(directory)}")


def _weights_hash(directory: Path) -> str:
    """Name the weights of a model that has no revision: the SHA-256 of their files, in order."""
    digest = hashlib.sha256()
    for file in weight_files(directory):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _check_contents(files: ModelFiles) -> None:
    """Raise CorruptModel if a file differs from the hash that its name in the hub's cache is."""
    for file in sorted(files.directory.iterdir()):
        blob = file.resolve()
        size = blob.stat().st_size
        if re.fullmatch(r"[0-9a-f]{64}", blob.name):
            digest = hashlib.sha256()
        elif _COMMIT.fullmatch(blob.name):
            # What git calls a blob's name; the hub uses it for small files.
            digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        else:
            continue
        with blob.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != blob.name:
            raise CorruptModel(
                f"The file {file.name} of the model {files.model_id} is corrupt: its hash is not the hub's; "
                f"{_mend(files.directory)}"
            )


def _mend(directory: Path) -> str:
    parts = [part for part in directory.parts if part.startswith("models--")]
    if parts:
        repository = Path(*directory.parts[: directory.parts.index(parts[0]) + 1])
        return f"delete {repository} and start again, so that it is fetched anew."
    return f"put whole files into {directory}."


def _no_such_name(model: str) -> UnsuitableModel:
    return UnsuitableModel(
        f"GAZE_MODEL is {model!r}, which is neither a hub id such as {DEFAULT_MODEL}, nor a directory, nor 'demo'."
    )


def _explained(error: Exception, model: str, revision: str) -> StartError:  # noqa: PLR0911  # a table of causes
    """Turn what the hub's client raised into one sentence that says what to do."""
    causes = list(_chain(error))
    if isinstance(error, HFValidationError):
        return _no_such_name(model)
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOSPC for cause in causes):
        return ModelUnavailable(f"The disk is full, so {model} was not fetched; make room in {constants.HF_HUB_CACHE}.")
    if any(isinstance(cause, PermissionError) or _read_only(cause) for cause in causes):
        return ModelUnavailable(
            f"{constants.HF_HUB_CACHE} cannot be written to, so {model} was not fetched; "
            "set HF_HOME to a folder that can."
        )
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return ModelUnavailable(
            f"The model {model} asks for its licence to be accepted; do that on its page at the hub and set HF_TOKEN."
        )
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
        return ModelUnavailable(f"The model {model} has no revision {revision}; correct GAZE_REVISION.")
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return ModelUnavailable(
            f"The hub has no model {model}, or keeps it private; correct GAZE_MODEL, or set HF_TOKEN "
            "to a token that may read it."
        )
    statuses = [cause.response.status_code for cause in causes if isinstance(cause, HfHubHTTPError)]
    if statuses:
        return ModelUnavailable(
            f"The hub ({constants.ENDPOINT}) answered {statuses[0]} when asked for {model}; try again later."
        )
    if any(isinstance(cause, httpx2.RemoteProtocolError) or "Consistency check" in str(cause) for cause in causes):
        return ModelUnavailable(
            f"The download of {model} was cut off; start again, and it goes on from where it stopped."
        )
    known = (httpx2.HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled)
    if any(isinstance(cause, known) for cause in causes):
        return ModelUnavailable(
            f"The hub ({constants.ENDPOINT}) cannot be reached, and {model} is not in the cache "
            f"({constants.HF_HUB_CACHE}); "
            "check the network, or set GAZE_MODEL=demo to try the service without it."
        )
    return ModelUnavailable(f"The model {model} could not be fetched ({type(error).__name__}); try again.")


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _read_only(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EROFS
