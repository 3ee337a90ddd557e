"""OpenVinoBackend: a model that was converted for OpenVINO, on a CPU; needs neither torch nor transformers."""

import contextlib
import ctypes
import mmap
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.zero_shot.features import ImageInputs
from service.zero_shot.silent_openvino import openvino

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoBackend:
    """Runs the two towers, one pass at a time, each on as many threads as it was given."""

    lanes = 1
    image_batch = 8
    text_batch = 8

    def __init__(
        self, image_tower: Path | openvino.Model, text_tower: Path | openvino.Model, precision: str, threads: int
    ) -> None:
        """Compile the towers: files in OpenVINO's format, or models in memory.

        precision: "float32", or "bfloat16" where the processor has it. Raises RuntimeError, as OpenVINO does.
        """
        core = openvino.Core()
        options = {
            # Without this some processors would compute in half precision unasked.
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            # Threads that are bound to cores wait where a decoder, or another worker's pass, has taken that core.
            "ENABLE_CPU_PINNING": False,
        }
        self._image_tower = core.compile_model(image_tower, "CPU", options).create_infer_request()
        self._text_tower = core.compile_model(text_tower, "CPU", options).create_infer_request()
        # The first pass lays out the weights; only after it are those of the files no longer needed.
        pixels = self._image_tower.get_compiled_model().input(0).get_partial_shape()
        self.image_features(
            {"pixel_values": np.zeros((1, *(pixels[axis].get_length() for axis in (1, 2, 3))), np.float32)}
        )
        self.text_features(np.zeros((self.text_batch, 8), np.int64))
        for tower in (image_tower, text_tower):
            if isinstance(tower, Path):
                _let_go_of(tower.with_suffix(".bin"))

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n prepared pictures."""
        return _pass(self._image_tower, inputs["pixel_values"])

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n phrases of the same number of tokens, [n, tokens]."""
        return _pass(self._text_tower, token_ids)


def processor_has_bfloat16() -> bool:
    """Say whether the processor computes in bfloat16 by itself."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _pass(tower: openvino.InferRequest, inputs: NDArray[np.float32] | NDArray[np.int64]) -> NDArray[np.float32]:
    features: NDArray[np.float32] = tower.infer({0: inputs}, share_inputs=True)[0]
    return features


def _let_go_of(weights: Path) -> None:
    """Take the pages of a mapped file out of this process's memory; they are read anew if they are needed again.

    A compiled model has the weights in a layout of its own, and would keep the file's mapped as well: twice the memory.
    """
    path = os.fsencode(os.path.realpath(weights))
    with contextlib.suppress(OSError, AttributeError):
        madvise = ctypes.CDLL(None, use_errno=True).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for line in Path("/proc/self/maps").read_bytes().split(b"\n"):
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[5] == path:
                start, end = (int(address, 16) for address in fields[0].split(b"-"))
                madvise(start, end - start, mmap.MADV_DONTNEED)
