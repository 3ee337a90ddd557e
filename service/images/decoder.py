"""Decoder: pictures -> what the model takes of them, in this process or in one that can be killed.

What is_ordinary() is decoded here: it takes less than half a second and 70 MB, and needs no other process. Everything
else goes to processes that have no more than DECODE_SECONDS and a share of memory for a picture, that are started when
the first such picture comes, and that end when none comes any more. A decoder that hangs or dies is a broken picture.

Pebble was measured: 1.5 ms a call, which would do. It keeps its processes for ever, its deadline begins with the call
and not with the wait for memory, and it takes pickles from a process that reads hostile files.
"""

import contextlib
import ctypes
import os
import pickle
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray
from PIL import Image

from service.errors import (
    GazeError,
    ImageDimensions,
    ImageTooLarge,
    Overloaded,
    UndecodableImage,
    UnsupportedImageFormat,
)
from service.images.decode import PICTURE_BYTES, ImageLimits, decode
from service.images.decoding_process import IDLE_SECONDS, PROCESS_BYTES, SMALL_BYTES, WORKING_BYTES
from service.images.frames import Frames
from service.images.ordinary import is_ordinary
from service.images.turns import Turns

log = structlog.get_logger()

DECODE_SECONDS = 8.0
"""How long one picture may take in a process of its own, the wait for the process included."""

Inputs = Mapping[str, NDArray[Any]]
Prepare = Callable[..., Inputs]
"""Called with an upright RGB image, and with the cores that are free for it, by name."""

_ERRORS = {error.code: error for error in (ImageTooLarge, UnsupportedImageFormat, ImageDimensions, UndecodableImage)}
_SLOT_BYTES = 200_000_000
"""What all that decodes may take, for each that may do so at a time."""

_ORDINARY_BYTES = 70_000_000
_MOST_WAITING = 2
"""How many may wait for a process behind those that take long: each of them has one of the service's places."""

_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class PreparedImage:
    """What a picture was sent as, its upright size, the SHA-256 of its bytes in hex, and what the model takes of it.

    decoded_at, warnings: as DecodedImage has them
    """

    width: int
    height: int
    format: str
    sha256: str
    inputs: Inputs
    decoded_at: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()


class Decode(Protocol):
    """Decodes one picture."""

    def __call__(
        self, prepare: Prepare, min_short_side: int | None = None, cores: int = 1, *, fast: bool = False
    ) -> PreparedImage:
        """Return what `prepare` makes of the upright RGB image.

        prepare: runs in another process where it can be pickled and the picture is out of the ordinary.
        min_short_side, fast: as decode() has them
        Raises what decode() does, and UndecodableImage also where the decoder hangs or dies, or Overloaded where
        others took so long that too little time was left.
        """


class Decoder:
    """Decodes so many pictures at a time, of which all but one may be out of the ordinary where there are several.

    seconds: how long one picture may take in a process of its own; None for DECODE_SECONDS
    """

    def __init__(self, limits: ImageLimits, slots: int, seconds: float | None = None) -> None:
        self._own_seconds = seconds
        self._limits = limits
        self._slots = Turns(max(2, slots))  # so that one is left for ordinary pictures, on one core as well
        self._others = Turns(max(1, slots - 1), most_waiting=_MOST_WAITING)
        # The largest picture is decoded however few slots there are.
        largest = PROCESS_BYTES + PICTURE_BYTES * limits.max_pixels + WORKING_BYTES
        self._others_bytes = max(_SLOT_BYTES * slots - _ORDINARY_BYTES * (slots - 1), largest)
        self._memory = Turns(self._others_bytes)
        self._idle: list[_Process] = []
        weakref.finalize(self, _end, self._idle)

    @property
    def max_pixels(self) -> int:
        """What a picture may have."""
        return self._limits.max_pixels

    @property
    def still_seconds(self) -> float:
        """For how long no picture has come to its end though all slots are taken, where that is too long; else 0."""
        still = self._slots.still_seconds
        return still if still > self._seconds else 0.0

    @property
    def _seconds(self) -> float:
        return self._own_seconds or DECODE_SECONDS

    @contextmanager
    def slot(self, encoded: bytes) -> Iterator[Decode]:
        """Wait for a slot, and give what decodes this picture in it. Raises Overloaded if none was free in time."""
        deadline = time.monotonic() + self._seconds
        if is_ordinary(encoded):
            with self._slots.turn(deadline):
                yield partial(self._here, encoded)
        else:
            with self._others.turn(deadline), self._slots.turn(deadline):
                yield partial(self._elsewhere, encoded, deadline)

    def _here(
        self, encoded: bytes, prepare: Prepare, min_short_side: int | None = None, cores: int = 1, *, fast: bool = False
    ) -> PreparedImage:
        image = decode(encoded, self._limits, min_short_side, fast=fast)
        inputs = prepare(image.rgb, cores=cores)
        return PreparedImage(
            image.width, image.height, image.format, image.sha256, inputs, image.decoded_at, image.warnings
        )

    def _elsewhere(
        self,
        encoded: bytes,
        deadline: float,
        prepare: Prepare,
        min_short_side: int | None = None,
        cores: int = 1,
        *,
        fast: bool = False,
    ) -> PreparedImage:
        if len(encoded) > self._limits.max_bytes:
            raise ImageTooLarge(f"The image has more than the {self._limits.max_bytes} bytes that this service takes.")
        portable = _portable(prepare)
        with self._process(deadline) as process:
            wanted = {"prepare": portable, "min_short_side": min_short_side, "fast": fast}
            prepared = self._ask(process, encoded, wanted, deadline)
        if portable:
            return prepared
        return replace(prepared, inputs=prepare(Image.fromarray(prepared.inputs["rgb"]), cores=cores))

    def close(self) -> None:
        """End the processes that have nothing to do."""
        _end(self._idle)

    def _ask(self, process: "_Process", encoded: bytes, wanted: Mapping[str, Any], deadline: float) -> PreparedImage:
        """Return what a process makes of the picture: without `prepare`, its RGB samples [height, width, 3]."""
        asked = {**wanted, "limits": self._limits, "seconds": self._seconds}
        frames = process.frames
        with ExitStack() as memory:
            memory.enter_context(self._memory.turn(deadline, PROCESS_BYTES + SMALL_BYTES))
            process.begun = time.monotonic()
            frames.send(pickle.dumps(asked))
            frames.send(encoded)
            answer = frames.receive_fields()
            if "needed" in answer:
                process.is_spent = True
                share = min(PROCESS_BYTES + _positive(answer["needed"]), self._others_bytes)
                memory.close()  # two that each waited for the rest would wait for ever
                memory.enter_context(self._memory.turn(deadline, share))
                process.begun = time.monotonic()
                with contextlib.suppress(AttributeError):  # glibc's: what requests have left is given back first
                    _LIBC.malloc_trim(0)
                frames.send_fields(given=share - PROCESS_BYTES)
                answer = frames.receive_fields()
            return _prepared(answer, frames)

    @contextmanager
    def _process(self, deadline: float) -> Iterator["_Process"]:
        """Take a process that has nothing to do, or start one; it is kept if it has answered, else killed."""
        process = self._take_idle() or _Process()
        process.frames.deadline = deadline
        try:
            yield process
        except TimeoutError:
            process.kill()
            if deadline - process.begun < self._seconds / 2:  # it was not slow, but late
                raise Overloaded(retry_after=1) from None
            log.warning("decoder hung", pid=process.pid)
            raise UndecodableImage("The image could not be decoded in time.") from None
        except (EOFError, OSError):
            process.kill()
            log.warning("decoder died", pid=process.pid, code=process.code)
            raise UndecodableImage from None
        except Overloaded:
            process.kill()
            raise
        except GazeError:
            self._give_back(process)
            raise
        except BaseException:
            process.kill()
            raise
        else:
            self._give_back(process)

    def _take_idle(self) -> "_Process | None":
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was faster
                process = self._idle.pop()
                if process.is_usable():
                    return process
                process.kill()
        return None

    def _give_back(self, process: "_Process") -> None:
        if process.is_spent:
            process.kill()
        else:
            process.idle_since = time.monotonic()
            self._idle.append(process)


class _Process:
    """A decoding process and the way to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "service.images.decoding_process", str(theirs.fileno())]
            # Threads of numpy's would each take memory and do nothing.
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(  # noqa: S603  # nothing of it comes from outside
                command,
                stdin=subprocess.PIPE,  # its other end is closed when this process ends, whichever way
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libtiff and others write what they think of a file
                pass_fds=(theirs.fileno(),),
                env=environment,
            )
        self.frames = Frames(ours)
        self.begun = self.idle_since = time.monotonic()
        self.is_spent = False  # what a large picture took is not always given back

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """What it ended with, a signal as a negative number; None while it runs."""
        return self._process.returncode

    def is_usable(self) -> bool:
        """Say whether it is there, and will not end in this moment because it had nothing to do for long."""
        return self._process.poll() is None and time.monotonic() - self.idle_since < IDLE_SECONDS - DECODE_SECONDS

    def kill(self) -> None:
        """End it, also where it is stopped, and return when it is gone."""
        self._process.kill()
        self._process.wait()
        self.frames.close()
        if self._process.stdin:
            self._process.stdin.close()


def _end(processes: list[_Process]) -> None:
    while processes:
        processes.pop().kill()


def _positive(number: object) -> int:
    """Return a number that a process said. Raises EOFError, as if it had died, where it is none."""
    if not isinstance(number, int) or number <= 0:
        raise EOFError
    return number


def _portable(prepare: Prepare) -> Prepare | None:
    """Return what another process can run as well, or None."""
    try:
        pickle.dumps(prepare)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    return prepare


def _prepared(answer: dict[str, Any], frames: Frames) -> PreparedImage:
    if "error" in answer:
        raise _ERRORS[answer["error"]](answer["detail"])
    inputs = {
        name: np.frombuffer(frames.receive(), dtype).reshape(shape) for name, (dtype, shape) in answer["inputs"].items()
    }
    decoded_at = answer["decoded_at"]
    return PreparedImage(
        width=answer["width"],
        height=answer["height"],
        format=answer["format"],
        sha256=answer["sha256"],
        inputs=inputs,
        decoded_at=(decoded_at[0], decoded_at[1]) if decoded_at else None,
        warnings=tuple(answer["warnings"]),
    )
