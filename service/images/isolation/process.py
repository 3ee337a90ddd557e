"""A decoding process as its parent has it: its start, its limits, its end, and its answers, none of them trusted."""

import math
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from service.errors import ImageDimensions, ImageTooLarge, UndecodableImage, UnsupportedImageFormat
from service.images.decode import PreparedImage
from service.images.isolation.child import IDLE_SECONDS, Frames
from service.images.isolation.sandbox import hide_process

log = structlog.get_logger()

DECODING_PROGRAM = """
import os, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads of numpy's would each take memory and do nothing
sys.path[:] = sys.argv[2:]
from service.images.decode import PreparedImage
from service.images.isolation.child import main
main()
"""
"""For Python without its site and its variables, so that modules come from where the service's own come from."""

_SOURCE = str(Path(__file__).parents[3])
# What a process has in its environment: where Python's own libraries are, on systems that say it so.
_PASSED_ON = ("LD_LIBRARY_PATH",)
_PAGE = resource.getpagesize()
_TICKS = os.sysconf("SC_CLK_TCK")
_SOON_IDLE_SECONDS = 8.0

_told_of: set[str] = set()

_ERRORS = {error.code: error for error in (ImageTooLarge, UnsupportedImageFormat, ImageDimensions, UndecodableImage)}
_MAX_SENTENCE, _MAX_WARNINGS = 500, 10  # characters of the one, and how many of the other

Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
"""The type and the shape of arrays, by name, as numpy's array interface spells them."""


class DecodingProcess:
    """A decoding process and the way to it.

    modules: whose classes it will be sent; what it has not imported when it begins, it can never import
    program: what it runs, in Python
    """

    def __init__(self, modules: Collection[str], program: str) -> None:
        hide_process()
        self.modules = frozenset(modules)
        ours, theirs = socket.socketpair()
        paths = [_SOURCE, *(path for path in sys.path if Path(path).is_absolute())]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # nothing of it comes from outside
                [sys.executable, "-I", "-S", "-c", program, str(theirs.fileno()), *paths],
                stdin=subprocess.PIPE,  # its other end is closed when this process ends, whichever way
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libtiff and others write what they think of a file
                pass_fds=(theirs.fileno(),),
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            )
        self.frames = Frames(ours)
        self.begun = self.idle_since = time.monotonic()
        self.is_spent = False  # what a large picture took is not always given back
        self._own_bytes: int | None = None

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """What it ended with, a signal as a negative number; None while it runs."""
        return self._process.returncode

    def limit(self, size: int, seconds: float) -> None:
        """Let it take so many bytes above what it had in the beginning, and so many seconds from now on.

        Raises EOFError or OSError when it is gone.
        """
        if self._own_bytes is None:
            self._own_bytes = self._closed_bytes()
        self._set(resource.RLIMIT_CPU, int(self._cpu_seconds() + seconds) + 2)
        # Not the address space, of which glibc and decoders with threads set much aside that they do not use.
        self._set(resource.RLIMIT_DATA, self._own_bytes + size)

    def _closed_bytes(self) -> int:
        """Let it import what it needs and close itself, and return what it has in memory then."""
        self.frames.send_fields(modules=sorted(self.modules))
        for name in set(self.frames.receive_fields()["missing"]) - _told_of:
            _told_of.add(name)
            log.warning("decoders are less closed off than they could be", missing=name)
        return self._data_bytes()

    def has_taken_more(self, size: int) -> bool:
        """Say whether it has taken more than so many bytes already."""
        return self._data_bytes() > (self._own_bytes or 0) + size

    def is_usable(self) -> bool:
        """Say whether it is there, has said nothing unasked, and will not end soon because it had nothing to do."""
        soon = time.monotonic() - self.idle_since > IDLE_SECONDS - _SOON_IDLE_SECONDS
        return not soon and self._process.poll() is None and self.frames.is_silent()

    def kill(self) -> None:
        """End it, also where it is stopped, and return when it is gone."""
        self._process.kill()
        self._process.wait()
        self.frames.close()
        if self._process.stdin:
            self._process.stdin.close()

    def _set(self, which: int, limit: int) -> None:
        # From here, since it cannot do so itself.
        most = resource.prlimit(self.pid, which)[1]
        resource.prlimit(self.pid, which, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))

    def _data_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[5]) * _PAGE

    def _cpu_seconds(self) -> float:
        user, system = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / _TICKS


def read_answer(
    answer: Mapping[str, Any], frames: Frames, sha256: str, max_pixels: int, expected: Shapes | None
) -> PreparedImage:
    """Return what a process said of a picture, and what it made of it.

    It may have been taken over by what it read, so each field is checked, and no array is received that was not
    `expected`; without it, the RGB samples alone, of no more than `max_pixels`. Raises EOFError where it says anything
    else, as if it had died, or else what it says to be wrong with the picture.
    """
    if "error" in answer:
        _require(isinstance(answer["error"], str) and answer["error"] in _ERRORS)
        raise _ERRORS[answer["error"]](_sentence(answer.get("detail")))
    width, height = number(answer.get("width")), number(answer.get("height"))
    decoded_at = answer.get("decoded_at")
    if decoded_at is not None:
        _require(isinstance(decoded_at, list) and len(decoded_at) == 2)
        decoded_at = number(decoded_at[0]), number(decoded_at[1])
    seen_width, seen_height = decoded_at or (width, height)
    _require(seen_width * seen_height <= max_pixels)
    shapes = expected or {"rgb": ("|u1", (seen_height, seen_width, 3))}
    _require(answer.get("inputs") == {name: [dtype, list(shape)] for name, (dtype, shape) in shapes.items()})
    warnings = answer.get("warnings")
    _require(isinstance(warnings, list) and len(warnings) <= _MAX_WARNINGS)
    return PreparedImage(
        width=width,
        height=height,
        format=_sentence(answer.get("format")),
        sha256=sha256,
        inputs={name: _array(frames, dtype, shape) for name, (dtype, shape) in shapes.items()},
        decoded_at=decoded_at,
        warnings=tuple(map(_sentence, warnings or ())),
    )


def number(said: object) -> int:
    """Return a number of pixels or bytes that a process said. Raises EOFError where it is none."""
    if type(said) is not int or not 0 < said < 2**63:
        raise EOFError
    return said


def _array(frames: Frames, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    size = np.dtype(dtype).itemsize * math.prod(shape)
    contents = frames.receive(size)
    _require(len(contents) == size)
    values = np.frombuffer(contents, dtype).reshape(shape)
    _require(bool(np.isfinite(values).all()))
    return values


def _sentence(text: object) -> str:
    if not isinstance(text, str) or not text.isprintable() or len(text) > _MAX_SENTENCE:
        raise EOFError
    return text


def _require(holds: bool) -> None:  # as in assert
    if not holds:
        raise EOFError
