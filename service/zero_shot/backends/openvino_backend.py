"""OpenVinoBackend: a model that was converted for OpenVINO, on a CPU; needs neither torch nor transformers."""

import contextlib
import ctypes
import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.zero_shot.preprocessing.preparation import ImageInputs

# On import OpenVINO would report to Google Analytics, from a process of its own, and leave a folder in the user's home.
# Without this package it uses a stand-in that does nothing; None makes it seem not to be installed.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

__all__ = ["OpenVinoBackend", "openvino", "processor_has_bfloat16"]

KEEP_SECONDS = 30.0
"""How long the compiled text tower stays in memory after its last use."""

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoBackend:
    """Runs the two towers, one pass at a time, each on as many threads as it was given.

    The text tower takes a third of the memory and is needed for new phrases alone: it is compiled for them, which
    takes a quarter of a second, and released with the first picture that comes long enough after.
    """

    max_concurrent_batches = 1
    image_batch = 8
    text_batch = 8

    def __init__(
        self, image_tower: Path | openvino.Model, text_tower: Path | openvino.Model, precision: str, threads: int
    ) -> None:
        """Compile the image tower; a tower is a file in OpenVINO's format, or a model in memory.

        precision: "float32", or "bfloat16" if the processor supports it. Raises RuntimeError, as OpenVINO does.
        """
        self._core = openvino.Core()
        self._options = {
            # Without this some processors would default to half precision.
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            # Pinned threads would wait for a core that a decoder or another worker is using.
            "ENABLE_CPU_PINNING": False,
        }
        # Read now, so that the cache may be deleted later; its weights are mapped and take no memory yet.
        self._text_model = self._core.read_model(text_tower) if isinstance(text_tower, Path) else text_tower
        self._text_source = text_tower
        self._text_tower: openvino.InferRequest | None = None
        self._text_tower_used = 0.0
        self._image_tower = self._core.compile_model(image_tower, "CPU", self._options).create_infer_request()
        height, width = (
            self._image_tower.get_compiled_model().input(0).get_partial_shape()[axis].get_length() for axis in (2, 3)
        )
        self.image_features({"pixel_values": np.zeros((1, 3, height, width), np.float32)})
        _release_weights(image_tower)

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n prepared pictures."""
        if time.monotonic() - self._text_tower_used > KEEP_SECONDS:
            self._text_tower = None
        return _infer(self._image_tower, inputs["pixel_values"])

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n phrases of the same number of tokens, [n, tokens]."""
        tower = self._text_tower
        if tower is None:
            tower = self._core.compile_model(self._text_model, "CPU", self._options).create_infer_request()
            _infer(tower, token_ids)
            _release_weights(self._text_source)
        self._text_tower, self._text_tower_used = tower, time.monotonic()
        return _infer(tower, token_ids)


def processor_has_bfloat16() -> bool:
    """Return whether the processor supports bfloat16 natively."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _infer(tower: openvino.InferRequest, inputs: NDArray[np.float32] | NDArray[np.int64]) -> NDArray[np.float32]:
    features: NDArray[np.float32] = tower.infer({0: inputs}, share_inputs=True)[0]
    return features


def _release_weights(tower: Path | openvino.Model) -> None:
    """Drop the pages of a tower's mapped file from this process's memory; they are read again if they are needed.

    After its first pass a compiled model has the weights in a layout of its own, and keeps the file's mapped as well:
    twice the memory.
    """
    if not isinstance(tower, Path):
        return
    path = os.fsencode(os.path.realpath(tower.with_suffix(".bin")))
    with contextlib.suppress(OSError, AttributeError):
        madvise = ctypes.CDLL(None, use_errno=True).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for line in Path("/proc/self/maps").read_bytes().split(b"\n"):
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[5] == path:
                start, end = (int(address, 16) for address in fields[0].split(b"-"))
                madvise(start, end - start, mmap.MADV_DONTNEED)
