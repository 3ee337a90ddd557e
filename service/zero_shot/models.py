"""A model's files -> the model, on the fastest backend that is exact on this machine, or on the one asked for."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from service.errors import InvalidSettings
from service.zero_shot.backend import LoadedModel
from service.zero_shot.cache import CacheFolder
from service.zero_shot.converted import (
    ConvertedModel,
    Unsuitable,
    entry_of,
    load_converted,
    read_converted,
    write_unsuitable,
)
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.hub import ModelFiles, fingerprint

log = structlog.get_logger()


@dataclass(frozen=True)
class Computing:
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
    files: ModelFiles, computing: Computing, cache: CacheFolder, waiting: Callable[[], object] = lambda: None
) -> LoadedModel:
    """Return the model; `waiting` is called if another process is converting it.

    On a CPU OpenVINO is faster than torch and gives the same features, which is checked when a model is converted;
    where it does not, torch runs the model.
    Raises CorruptModel, UnsuitableModel, or InvalidSettings where what is asked for cannot be had.
    """
    device = computing.device
    if device == "auto":
        device = "cuda" if _has_cuda() else "cpu"
    if computing.backend != "torch" and device == "cpu" and computing.precision != "float16":
        loaded = _load_openvino(files, computing, cache, waiting)
        if not isinstance(loaded, Unsuitable):
            return loaded
        if computing.backend == "openvino":
            raise InvalidSettings(f"GAZE_BACKEND is openvino, which cannot run {files.model_id}: {loaded.reason}.")
        log.info("torch runs the model", reason=loaded.reason)
    elif computing.backend == "openvino":
        raise InvalidSettings(
            "GAZE_BACKEND is openvino, which runs on the CPU alone and not in float16; set GAZE_DEVICE=cpu and another "
            "GAZE_PRECISION, or GAZE_BACKEND=torch."
        )
    return _load_torch(files, device, computing)


def _load_torch(files: ModelFiles, device: str, computing: Computing) -> LoadedModel:
    # Imported here, because torch takes seconds and some 300 MB, and OpenVINO's backend can do without it.
    from service.zero_shot.torch_backend import load_torch  # noqa: PLC0415

    return load_torch(files, device, computing.precision, computing.threads)


def _load_openvino(
    files: ModelFiles, computing: Computing, cache: CacheFolder, waiting: Callable[[], object]
) -> LoadedModel | Unsuitable:
    precision = "float32" if computing.precision == "auto" else computing.precision
    entry = entry_of(files, fingerprint(files))
    found: ConvertedModel | LoadedModel | Unsuitable | None = read_converted(cache, entry)
    if found is None:
        with cache.lock(entry, waiting):
            found = read_converted(cache, entry) or _convert(files, computing.threads, cache, entry)
    if isinstance(found, LoadedModel):
        return found if precision == "float32" else _in_memory(found, precision, computing.threads)
    if isinstance(found, Unsuitable):
        return found
    return load_converted(cache / entry, found, files, precision, computing.threads)


def _convert(
    files: ModelFiles, threads: int, cache: CacheFolder, entry: str
) -> ConvertedModel | LoadedModel | Unsuitable:
    """Convert a model and keep it in the cache; return it as it lies there, or as it is where nothing can be kept."""
    from service.zero_shot.conversion import convert, save_converted  # noqa: PLC0415  # as above

    in_torch = _load_torch(files, "cpu", Computing("cpu", "torch", "float32", threads))
    ClipEncoder(in_torch).check_answers()
    converted = convert(in_torch, threads)
    if isinstance(converted, Unsuitable):
        cache.write(entry, lambda folder: write_unsuitable(folder, converted))
        return converted
    log.info("model converted", model=files.model_id, backend="openvino")
    kept = cache.write(entry, lambda folder: save_converted(converted, folder))
    return (read_converted(cache, entry) if kept else None) or converted


def _in_memory(converted: LoadedModel, precision: str, threads: int) -> LoadedModel:
    from service.zero_shot.openvino_backend import OpenVinoBackend  # noqa: PLC0415

    towers = converted.origin
    backend = OpenVinoBackend(towers.image_tower, towers.text_tower, precision, threads)
    return replace(converted, backend=backend, description=replace(converted.description, precision=precision))


def _has_cuda() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False  # no driver, so torch need not be asked
    import torch  # noqa: PLC0415  # as above

    return torch.cuda.is_available()
