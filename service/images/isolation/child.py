"""A process that decodes one picture after the other for the one that started it, and may be killed at any time.

    main(), with a socket's number as the first argument

It is closed before it sees a picture: a decoder that was taken over finds no key, no file, no network and no other
process, and cannot raise its limits, which its parent sets. It ends when it has had nothing to do for a while, so that
its memory returns, and is killed when standard input, a pipe that its parent holds, is closed: by whichever end the
parent comes to, and even where this process is stopped.
"""

import contextlib
import fcntl
import json
import os
import pickle
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import GazeError, ImageDimensions
from service.images.decode import DecodedImage, decode, import_decoders
from service.images.isolation.sandbox import close_process
from service.images.picture import NEEDS_MEMORY, OrientedImage

IDLE_SECONDS = 60.0
PROCESS_BYTES = 45_000_000  # what a process has in memory before its first request
SMALL_BYTES = 150_000_000
"""What it may take beside that to read what a picture says of itself, and to decode it where nothing more is needed."""

WORKING_BYTES = 64_000_000
"""Beside what a decoder takes for the pixels: a band in each of its stages, and the resizing of very long shapes."""

_OUT_OF_MEMORY_SCORE = 900
_F_SETSIG = 10  # as fcntl(2) numbers it
_LENGTH = struct.Struct(">Q")
_MAX_FIELDS_BYTES = 65_536


class Frames:
    """One end of the connection between the service and a child: JSON and bytes, each preceded by its length.

    Nothing of what comes back is code, because it comes from a process that reads hostile files; and nothing is longer
    than the service expects it to be. Raises TimeoutError at the deadline, EOFError or OSError when the other end is
    gone.
    deadline: on time.monotonic()'s clock; None waits for ever
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline: float | None = None

    def send(self, contents: bytes | memoryview) -> None:
        """Send bytes."""
        self._set_timeout()
        self._connection.sendall(_LENGTH.pack(len(contents)))
        self._set_timeout()
        self._connection.sendall(contents)

    def receive(self, most: int | None = None) -> bytearray:
        """Return the next bytes that were sent. Raises EOFError, before it takes memory, if they are more than `most`.

        most: None where the other end is trusted
        """
        length = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        if most is not None and length > most:
            raise EOFError
        return self._exactly(length)

    def send_fields(self, **fields: Any) -> None:
        """Send names with values that JSON has."""
        self.send(json.dumps(fields).encode())

    def receive_fields(self) -> dict[str, Any]:
        """Return what `send_fields` sent. Raises EOFError if it is no such thing, as if the other end had died."""
        try:
            fields = json.loads(self.receive(_MAX_FIELDS_BYTES))
        except (ValueError, RecursionError):
            raise EOFError from None
        if not isinstance(fields, dict):
            raise EOFError
        return fields

    def is_silent(self) -> bool:
        """Say whether there is nothing to be received, which the other end sent unasked or by ending."""
        self._connection.settimeout(0)
        try:
            self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _exactly(self, length: int) -> bytearray:
        received = bytearray(length)
        rest = memoryview(received)
        while rest:
            self._set_timeout()
            count = self._connection.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return received

    def _set_timeout(self) -> None:
        left = None if self.deadline is None else self.deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)


def main() -> None:
    """Decode until no more requests come."""
    _end_with_parent()
    Path("/proc/self/oom_score_adj").write_text(f"{_OUT_OF_MEMORY_SCORE}\n", encoding="ascii")
    frames = Frames(socket.socket(fileno=int(sys.argv[1])))
    with contextlib.suppress(EOFError, OSError):  # no more requests, TimeoutError among them
        frames.deadline = time.monotonic() + IDLE_SECONDS
        for module in frames.receive_fields()["modules"]:
            import_module(module)
        import_decoders()
        frames.send_fields(missing=close_process())
        while True:
            frames.deadline = time.monotonic() + IDLE_SECONDS
            _answer(frames)


def _answer(frames: Frames) -> None:
    request = pickle.loads(frames.receive())  # noqa: S301  # from the parent
    encoded = bytes(frames.receive())
    frames.deadline = None
    prepare = request["prepare"] or _samples

    def ask_for_memory(decoder_bytes: int) -> bool:
        needed = decoder_bytes + WORKING_BYTES
        if needed <= request["given"]:
            return True
        frames.send_fields(needed=needed)
        return bool(frames.receive_fields()["enough"])

    try:
        decoded = decode(
            encoded, request["limits"], request["min_short_side"], ask_for_memory, fast=request["fast"], sha256=""
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
