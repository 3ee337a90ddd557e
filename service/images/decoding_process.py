"""A process that decodes one picture after the other for the one that started it, and may be killed at any time.

    python -m service.images.decoding_process SOCKET

It ends when it has had nothing to do for a while, so that its memory returns, and is killed when standard input, a pipe
that its parent holds, is closed: by whichever end the parent comes to, and even where this process is stopped.
"""

import contextlib
import fcntl
import os
import pickle
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import GazeError, ImageDimensions
from service.images import heif
from service.images.decode import DecodedImage, decode
from service.images.frames import Frames
from service.images.pillow_errors import NEEDS_MEMORY
from service.images.tiff import picture  # noqa: F401  # its codecs, while files can still be opened
from service.images.upright import Upright

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
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    heif.register()
    frames = Frames(socket.socket(fileno=int(sys.argv[1])))
    before = _data_bytes()
    with contextlib.suppress(EOFError, OSError):  # nobody asks any more, TimeoutError among them
        while True:
            frames.deadline = time.monotonic() + IDLE_SECONDS
            _answer(frames, before)


def _answer(frames: Frames, before: int) -> None:
    asked = pickle.loads(frames.receive())  # noqa: S301  # from the parent
    encoded = bytes(frames.receive())
    _limit_seconds(asked["seconds"])
    limit = before + 2 * len(encoded)
    # To open a WebP, libwebp sets two canvases aside; it writes to them only when it decodes.
    is_webp = encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP"
    _limit_memory(resource.RLIM_INFINITY if is_webp else limit + SMALL_BYTES)
    prepare = asked["prepare"] or _samples

    def ask_for_memory(decoder_bytes: int) -> bool:
        needed = decoder_bytes + WORKING_BYTES
        given = SMALL_BYTES
        if needed > given:
            frames.send_fields(needed=needed)
            given = frames.receive_fields()["given"]
        _limit_memory(limit + given)
        if _data_bytes() > limit + given:
            raise MemoryError
        return bool(given >= needed)

    frames.deadline = None
    try:
        decoded = decode(encoded, asked["limits"], asked["min_short_side"], ask_for_memory, fast=asked["fast"])
        inputs = prepare(decoded.upright)
    except GazeError as error:
        frames.send_fields(error=error.code, detail=error.detail)
    except MemoryError:
        frames.send_fields(error=ImageDimensions.code, detail=NEEDS_MEMORY)
    else:
        _send(frames, decoded, inputs)
    _limit_memory(resource.RLIM_INFINITY)


def _send(frames: Frames, decoded: DecodedImage, inputs: Mapping[str, np.ndarray[Any, Any]]) -> None:
    frames.send_fields(
        width=decoded.width,
        height=decoded.height,
        format=decoded.format,
        sha256=decoded.sha256,
        decoded_at=decoded.decoded_at,
        warnings=decoded.warnings,
        inputs={name: [values.dtype.str, values.shape] for name, values in inputs.items()},
    )
    for values in inputs.values():
        frames.send(np.ascontiguousarray(values).data.cast("B"))


def _samples(upright: Upright) -> Mapping[str, np.ndarray[Any, Any]]:
    return {"rgb": np.asarray(upright.whole())}


def _end_with_parent() -> None:
    # A parent-death signal would come when the thread ends that started this process.
    fcntl.fcntl(sys.stdin, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sys.stdin, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(sys.stdin, fcntl.F_SETFL, fcntl.fcntl(sys.stdin, fcntl.F_GETFL) | os.O_ASYNC)


def _limit_seconds(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 2, resource.RLIM_INFINITY))


def _limit_memory(limit: int) -> None:
    # Not the address space, of which glibc and decoders with threads set much aside that they do not use.
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))


def _data_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()


if __name__ == "__main__":
    main()
