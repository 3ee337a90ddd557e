"""A model's name -> its files on this machine, downloaded from the Hugging Face hub if necessary.

Only configuration, tokenizer and weight files are downloaded, no code.
"""

import errno
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import structlog
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils.tqdm import disable_progress_bars

from service.errors import CorruptModel, ModelUnavailable, StartError, UnsuitableModel

log = structlog.get_logger()

DEMO = "demo"
DEFAULT_MODEL = "openai/clip-vit-base-patch32"
DEFAULT_REVISION = "b97b0100e55e367c057773c2a614676470b0d575"
FAMILIES = ("clip", "siglip", "siglip2")
"""The values of `model_type` in config.json that this service can use."""

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""The configuration of preprocessing; the second is the name in transformers 5."""

_TOKENIZERS = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
"""A tokenizer needs at least one of these."""

_COMPANIONS = (
    "config.json",
    *_PROCESSORS,
    *_TOKENIZERS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In the order of preference; an index names the files that the weights are split into."""

_COMMIT = re.compile(r"[0-9a-f]{40}")

# Otherwise the client reports to the hub which program runs it.
constants.HF_HUB_DISABLE_TELEMETRY = True


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine: its files and its identity."""

    directory: Path
    model_id: str
    revision: str | None
    demo: bool = False


def fetch(model: str, revision: str | None) -> ModelFiles:
    """Return the model's files, downloading and checking what is missing; offline with HF_HUB_OFFLINE=1.

    model: a hub id, a directory, or "demo"; revision: of a hub id, None for the pinned one or the hub's main branch.
    Raises UnsuitableModel, CorruptModel or ModelUnavailable.
    """
    if model == DEMO or _is_directory(model):
        return locate(model, revision)
    if constants.HF_HUB_CACHE.startswith("~"):
        raise ModelUnavailable(
            f"This user has no home to keep {model} in; set HF_HOME to a folder that can be written to."
        )
    revision = revision or _pinned_revision(model)
    if constants.HF_HUB_OFFLINE or _COMMIT.fullmatch(revision):
        # A commit never changes, so a cached one needs no request.
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
    except StartError:
        raise
    except Exception as error:  # noqa: BLE001  # the client raises whatever a broken answer made it stumble over
        explained = _explained(error, model, revision)
        if not (_hub_is_away(error) or _cannot_be_kept(error)):
            raise explained from None
        # Use the cached state of a branch or tag meanwhile.
        try:
            files = locate(model, revision)
        except StartError:
            raise explained from None
        log.warning(
            "the model in the cache may be older than the hub's", revision=files.revision, reason=str(explained)
        )
    else:
        files = locate(model, revision)
    _check_contents(files)
    return files


def locate(model: str, revision: str | None) -> ModelFiles:
    """Return the model's files on this machine, without any request to the hub.

    Raises UnsuitableModel, CorruptModel or ModelUnavailable.
    """
    if model == DEMO:
        directory = demo_folder()
        return ModelFiles(directory, DEMO, _weights_hash(directory), demo=True)
    if _is_directory(model):
        directory = Path(model).expanduser()
        if not os.path.isdir(directory):  # noqa: PTH112  # Path.is_dir() raises where a folder may not be entered
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


def fingerprint(files: ModelFiles) -> str:
    """Name the exact contents of a model's files besides its weights, which its revision names: a SHA-256, in hex."""
    digest = hashlib.sha256()
    for name in _COMPANIONS:
        if (files.directory / name).is_file():
            digest.update(name.encode() + b"\0")
            _read_into(digest, files.directory / name)
    return digest.hexdigest()


def weight_files(directory: Path) -> tuple[Path, ...]:
    """Return the files that hold the weights, safetensors before pickles; empty if there are none."""
    for name in _WEIGHTS:
        path = directory / name
        if path.is_file():
            return (path,) if not name.endswith(".index.json") else _named_in(path)
    return ()


def _is_directory(model: str) -> bool:
    try:
        return model.startswith(("/", ".", "~")) or Path(model).is_dir()
    except OSError:  # too long for a file name, or in a folder without permission
        return False


def _pinned_revision(model: str) -> str:
    return DEFAULT_REVISION if model == DEFAULT_MODEL else "main"


def _download(model: str, revision: str) -> None:
    """Download config.json, and, if the family is supported, the other files into the hub's cache."""
    # Only errors are of interest here.
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not sys.stderr.isatty():
        disable_progress_bars()
    about = HfApi().model_info(model, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    there = {file.rfilename for file in about.siblings or ()}
    if "config.json" not in there:
        raise UnsuitableModel(
            f"The model {model} has no config.json, so it is not in transformers' format; "
            "set GAZE_MODEL to another model."
        )
    check_family(Path(hf_hub_download(model, "config.json", revision=about.sha)), model)
    weights = next((name for name in _WEIGHTS if name in there), None)
    if weights is None or there.isdisjoint(_PROCESSORS) or there.isdisjoint(_TOKENIZERS):
        raise UnsuitableModel(
            f"The model {model} lacks weights (model.safetensors or pytorch_model.bin), a tokenizer or "
            "preprocessor_config.json; set GAZE_MODEL to a whole model."
        )
    wanted = [*_COMPANIONS, weights]
    if weights.endswith(".index.json"):
        wanted += [file.name for file in _named_in(Path(hf_hub_download(model, weights, revision=about.sha)))]
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
        missing = ["model.safetensors or pytorch_model.bin"]
    present = {file.name for file in _files_in(directory) if file.is_file()}
    missing += [names[0] for names in (_PROCESSORS, _TOKENIZERS) if present.isdisjoint(names)]
    # Dangling links.
    missing += [file.name for file in _files_in(directory) if file.is_symlink() and not file.exists()]
    if missing:
        raise CorruptModel(f"The model {model} lacks {', '.join(dict.fromkeys(missing))}; {_mend(directory)}")


def _weights_hash(directory: Path) -> str:
    """Name the weights of a model that has no revision: the SHA-256 of their files, in order."""
    digest = hashlib.sha256()
    for file in weight_files(directory):
        _read_into(digest, file)
    return f"sha256:{digest.hexdigest()}"


def _check_contents(files: ModelFiles) -> None:
    """Raise CorruptModel if a file's hash is not its name in the hub's cache."""
    for file in _files_in(files.directory):
        if not file.is_symlink():
            continue
        # The first link's target is named by the hub's hash; a further link may lead to other names.
        expected = file.readlink().name
        if re.fullmatch(r"[0-9a-f]{64}", expected):
            digest = hashlib.sha256()
        elif _COMMIT.fullmatch(expected):
            # git's blob hash, which the hub uses for small files.
            digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
        else:
            continue
        _read_into(digest, file)
        if digest.hexdigest() != expected:
            raise CorruptModel(
                f"The file {file.name} of the model {files.model_id} is corrupt: its hash is not the hub's; "
                f"delete {file.resolve()} and start again, so that it is fetched anew."
            )


def _files_in(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        raise _unreadable(directory, error) from None


def _read_into(digest: Any, file: Path) -> None:
    try:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(path: Path, error: OSError) -> CorruptModel:
    return CorruptModel(f"{path} cannot be read ({error.strerror}); let the user that runs this read it.")


def _mend(directory: Path) -> str:
    parts = [part for part in directory.parts if part.startswith("models--")]
    if parts:
        repository = Path(*directory.parts[: directory.parts.index(parts[0]) + 1])
        if constants.HF_HUB_OFFLINE:
            return f"delete {repository} and run 'gaze prepare' where the hub can be reached."
        return f"delete {repository} and start again, so that it is fetched anew."
    return f"put whole files into {directory}."


def _no_such_name(model: str) -> UnsuitableModel:
    return UnsuitableModel(
        f"GAZE_MODEL is {model!r}, which is neither a hub id such as {DEFAULT_MODEL}, nor a directory, nor 'demo'."
    )


def _explained(error: Exception, model: str, revision: str) -> StartError:  # noqa: PLR0911  # a table of causes
    """Turn an error of the hub's client into one sentence that says what to do."""
    causes = list(_chain(error))
    if isinstance(error, HFValidationError):
        return _no_such_name(model)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return ModelUnavailable(f"The disk is full, so {model} was not fetched; make room in {constants.HF_HUB_CACHE}.")
    if isinstance(error, OSError) and error.errno is not None:
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
    if any(isinstance(cause, RemoteEntryNotFoundError) for cause in causes):
        return ModelUnavailable(f"The hub has lost a file of the model {model} that it lists; try again later.")
    statuses = [cause.response.status_code for cause in causes if isinstance(cause, HfHubHTTPError)]
    if statuses and statuses[0] in (401, 403):
        return ModelUnavailable(
            f"The hub ({constants.ENDPOINT}) refuses {model} ({statuses[0]}); set HF_TOKEN to a token that may read it."
        )
    if statuses:
        return ModelUnavailable(
            f"The hub ({constants.ENDPOINT}) answered {statuses[0]} when asked for {model}; try again later."
        )
    if any(isinstance(cause, httpx2.RemoteProtocolError) or "Consistency check" in str(cause) for cause in causes):
        return ModelUnavailable(f"The download of {model} was cut off; start again, and what came whole is kept.")
    if any(isinstance(cause, httpx2.TransportError) for cause in causes):
        return ModelUnavailable(
            f"The hub ({constants.ENDPOINT}) cannot be reached, and {model} is not in the cache "
            f"({constants.HF_HUB_CACHE}); "
            "check the network, or set GAZE_MODEL=demo to try the service without it."
        )
    return ModelUnavailable(
        f"The hub ({constants.ENDPOINT}) gave an answer that cannot be understood ({type(error).__name__}) when asked "
        f"for {model}; check HF_ENDPOINT and the network, then try again."
    )


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _cannot_be_kept(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC)


def _hub_is_away(error: Exception) -> bool:
    return isinstance(error, httpx2.TransportError) or (
        isinstance(error, HfHubHTTPError) and error.response.status_code >= 500
    )
