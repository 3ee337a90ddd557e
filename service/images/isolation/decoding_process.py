"""A process that decodes one picture after the other for the one that started it, and may be killed at any time.

    main(), with a socket's number as the first argument

It is closed before it sees a picture: a decoder that was taken over finds no key, no file, no network and no other
process, and cannot raise its limits, which its parent sets. It ends when it has had nothing to do for a while, so that
its memory returns, and is killed when standard input, a pipe that its parent holds, is closed: by whichever end the
parent comes to, and even where this process is stopped.
"""

import contextlib
import fcntl
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import GazeError, ImageDimensions
from service.images.decode import DecodedImage, decode, import_decoders
from service.images.decoders.base import NEEDS_MEMORY
from service.images.isolation.frames import Frames
from service.images.isolation.sandbox import close_process
from service.images.oriented import OrientedImage

IDLE_SECONDS = 60.0
PROCESS_BYTES = 45_000_000
"""What a process has in memory before it is asked for anything."""

SMALL_BYTES = 150_000_000
"""What it may take beside that to read what a picture says of itself, and to decode it where nothing more is needed."""

WORKING_BYTES = 64_000_000
"""Beside what a decoder takes for the pixels: a band in each of its stages, and the resizing of very long shapes."""

_OUT_OF_MEMORY_SCORE = 900
_F_SETSIG = 10  # as fcntl(2) numbers it


def main() -> None:
    """Decode until nobody asks any more."""
    _end_with_parent()
    Path("/proc/self/oom_score_adj").write_text(f"{_OUT_OF_MEMORY_SCORE}\n", encoding="ascii")
    frames = Frames(socket.socket(fileno=int(sys.argv[1])))
    with contextlib.suppress(EOFError, OSError):  # nobody asks any more, TimeoutError among them
        frames.deadline = time.monotonic() + IDLE_SECONDS
        for module in frames.receive_fields()["modules"]:
            import_module(module)
        import_decoders()
        frames.send_fields(missing=close_process())
        while True:
            frames.deadline = time.monotonic() + IDLE_SECONDS
            _answer(frames)


def _answer(frames: Frames) -> None:
    asked = pickle.loads(frames.receive())  # noqa: S301  # from the parent
    encoded = bytes(frames.receive())
    frames.deadline = None
    prepare = asked["prepare"] or _samples

    def ask_for_memory(decoder_bytes: int) -> bool:
        needed = decoder_bytes + WORKING_BYTES
        if needed <= asked["given"]:
            return True
        frames.send_fields(needed=needed)
        return bool(frames.receive_fields()["enough"])

    try:
        decoded = decode(
            encoded, asked["limits"], asked["min_short_side"], ask_for_memory, fast=asked["fast"], sha256=""
        )  # the parent says the sum itself
        inputs = prepare(decoded.oriented)
    except GazeError as error:
        frames.send_fields(error=error.code, detail=error.detail)
    except MemoryError:
        frames.send_fields(error=ImageDimensions.code, detail=NEEDS_MEMORY)
    else:
        _send(frames, decoded, inputs)


def _send(frames: Frames, decoded: DecodedImage, inputs: Mapping[str, np.ndarray[Any, Any]]) -> None:
    frames.send_fields(
        width=decoded.width,
        height=decoded.height,
        format=decoded.format,
        decoded_at=decoded.decoded_at,
        warnings=decoded.warnings,
        inputs={name: [values.dtype.str, values.shape] for name, values in inputs.items()},
    )
    for values in inputs.values():
        frames.send(np.ascontiguousarray(values).data.cast("B"))


def _samples(image: OrientedImage) -> Mapping[str, np.ndarray[Any, Any]]:
    return {"rgb": np.asarray(image.whole())}


def _end_with_parent() -> None:
    # A parent-death signal would come when the thread ends that started this process.
    fcntl.fcntl(sys.stdin, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sys.stdin, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(sys.stdin, fcntl.F_SETFL, fcntl.fcntl(sys.stdin, fcntl.F_GETFL) | os.O_ASYNC)
