"""A model's files -> the model, on the fastest backend that is exact on this machine, or on the configured one."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from service.errors import InvalidSettings
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.backends.openvino_backend import OpenVinoBackend, processor_has_bfloat16
from service.zero_shot.backends.openvino_cache import (
    CachedModel,
    Unconvertible,
    entry_of,
    load_cached,
    read_cached,
    write_unconvertible,
)
from service.zero_shot.backends.parity_check import check_model
from service.zero_shot.cache import CacheFolder, require_temporary_folder
from service.zero_shot.model_files import ModelFiles, fingerprint

log = structlog.get_logger()


@dataclass(frozen=True)
class ComputeOptions:
    """Where and how a model is to run.

    device:    "auto", "cpu" or "cuda"
    backend:   "auto", "torch" or "openvino"
    precision: "auto", "float32", "bfloat16" or "float16"
    threads:   of one pass on the CPU
    """

    device: str
    backend: str
    precision: str
    threads: int


def load_model(
    files: ModelFiles,
    computing: ComputeOptions,
    cache: CacheFolder,
    waiting: Callable[[], object] = lambda: None,
    *,
    compare: bool = True,
) -> LoadedModel:
    """Return the model; `waiting` is called if another process is converting it.

    compare: whether to compare a cached conversion with torch's features again, and to check a model that torch runs;
    each is checked when it is converted.

    On a CPU OpenVINO is faster than torch, with the same features, which is checked; otherwise torch runs the model.
    Raises CorruptModel, UnsuitableModel, or InvalidSettings if the settings cannot be met.
    """
    device = computing.device
    if device == "auto":
        device = "cuda" if computing.backend != "openvino" and has_cuda() else "cpu"
    if device == "cpu":
        _check_precision(computing.precision)
    elif computing.backend == "openvino":
        raise InvalidSettings("GAZE_BACKEND is openvino, which runs on the CPU alone; set GAZE_DEVICE=cpu.")
    if device == "cpu" and computing.backend != "torch":
        precision = "float32" if computing.precision == "auto" else computing.precision
        loaded = _load_openvino(files, precision, computing.threads, cache, waiting, compare=compare)
        if not isinstance(loaded, Unconvertible):
            return loaded
        if computing.backend == "openvino":
            raise InvalidSettings(f"GAZE_BACKEND is openvino, which cannot run {files.model_id}: {loaded.reason}.")
        log.info("torch runs the model", reason=loaded.reason)
    loaded = _load_torch(files, device, computing.precision, computing.threads)
    if compare:
        check_model(loaded, files)
    return loaded


def _check_precision(precision: str) -> None:
    """Raise InvalidSettings if the processor does not support this precision natively."""
    if precision == "float16":
        raise InvalidSettings("GAZE_PRECISION is float16, which takes a CUDA device; on a CPU say float32 or bfloat16.")
    if precision == "bfloat16" and not processor_has_bfloat16():
        raise InvalidSettings("GAZE_PRECISION is bfloat16, which this processor does not have; say float32.")


def _load_torch(files: ModelFiles, device: str, precision: str, threads: int) -> LoadedModel:
    require_temporary_folder()
    # Imported here, because torch takes seconds and some 300 MB, and OpenVINO's backend can do without it.
    from service.zero_shot.backends.torch_backend import load_torch  # noqa: PLC0415

    return load_torch(files, device, precision, threads)


def _load_openvino(
    files: ModelFiles,
    precision: str,
    threads: int,
    cache: CacheFolder,
    waiting: Callable[[], object],
    *,
    compare: bool,
) -> LoadedModel | Unconvertible:
    entry = entry_of(files, fingerprint(files))
    found: CachedModel | LoadedModel | Unconvertible | None = read_cached(cache, entry)
    if found is None:
        with cache.lock(entry, waiting):
            found = read_cached(cache, entry) or _convert(files, precision, threads, cache, entry)
    if isinstance(found, CachedModel):
        return load_cached(cache / entry, found, files, precision, threads, compare=compare)
    return found


def _convert(
    files: ModelFiles, precision: str, threads: int, cache: CacheFolder, entry: str
) -> CachedModel | LoadedModel | Unconvertible:
    """Convert a model and write it to the cache; return it from there, or from memory if the cache is not writable."""
    require_temporary_folder()
    from service.zero_shot.backends.openvino_export import export, save  # noqa: PLC0415  # as above

    in_torch = _load_torch(files, "cpu", "float32", threads)
    check_model(in_torch, files)
    exported = export(in_torch, threads)
    if isinstance(exported, Unconvertible):
        if exported.lasting:
            cache.write(entry, lambda folder: write_unconvertible(folder, exported))
        return exported
    log.info("model converted", model=files.model_id, backend="openvino")
    if cache.write(entry, lambda folder: save(exported, folder)):
        kept = read_cached(cache, entry)
        if kept is not None:
            return kept
    towers, description = exported.towers, replace(exported.loaded.description, precision=precision)
    backend = OpenVinoBackend(towers.image_tower, towers.text_tower, precision, threads)
    return replace(exported.loaded, backend=backend, description=description)


def has_cuda() -> bool:
    """Return whether there is a CUDA device; torch is imported only if there is a driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False  # no driver
    import torch  # noqa: PLC0415  # as above

    return torch.cuda.is_available()
