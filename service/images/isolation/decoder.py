"""Decoder: pictures -> what the model takes of them, in this process or in one that can be killed.

What is_ordinary() is decoded here: it takes less than half a second and 70 MB, and needs no other process. Everything
else goes to processes that have no more than DECODE_SECONDS and a share of memory for a picture, that are started when
the first such picture comes, and that end when none comes any more. A decoder that hangs or dies is a broken picture.

Pebble was measured: 1.5 ms a call, which would do. It keeps its processes for ever, its deadline begins with the call
and not with the wait for memory, and it takes pickles from a process that reads hostile files.
"""

import contextlib
import ctypes
import hashlib
import pickle
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Protocol

import structlog
from PIL import Image

from service.errors import (
    GazeError,
    ImageDimensions,
    ImageTooLarge,
    Overloaded,
    UndecodableImage,
)
from service.images.decode import ImageLimits, Prepare, PreparedImage, decode, format_of, is_ordinary
from service.images.isolation.child import PROCESS_BYTES, SMALL_BYTES, WORKING_BYTES
from service.images.isolation.process import (
    DECODING_PROGRAM,
    DecodingProcess,
    Shapes,
    number,
    read_answer,
)
from service.images.picture import NEEDS_MEMORY, PIXEL_BYTES
from service.limits.admission import FairSemaphore

log = structlog.get_logger()

DECODE_SECONDS = 8.0  # how long one picture may take in a process of its own, the wait for the process included
_SLOT_BYTES = 200_000_000  # what all that decodes may take, for each that may do so at a time
_ORDINARY_BYTES = 70_000_000
# How many may wait for a process behind those that take long: each of them has one of the service's places.
_MAX_WAITING = 2

_LIBC = ctypes.CDLL(None)


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
    program: what its processes run
    """

    def __init__(
        self, limits: ImageLimits, slots: int, seconds: float | None = None, program: str = DECODING_PROGRAM
    ) -> None:
        self._own_seconds = seconds
        self.limits = limits
        self._slots = FairSemaphore(slots)
        self._others_share = min(1, slots - 1)  # none of a single slot, which is left for ordinary pictures
        self._others = FairSemaphore(max(1, slots - 1), max_waiting=_MAX_WAITING)
        # The largest picture is decoded however few slots there are.
        largest = PROCESS_BYTES + PIXEL_BYTES * limits.max_pixels + WORKING_BYTES
        self._others_bytes = max(_SLOT_BYTES * slots - _ORDINARY_BYTES * (slots - 1), largest)
        self._memory = FairSemaphore(self._others_bytes)
        self._idle: list[DecodingProcess] = []
        self._modules: frozenset[str] = frozenset()
        self._program = program
        weakref.finalize(self, _end, self._idle)

    @property
    def stalled_seconds(self) -> float:
        """For how long no picture has come to its end though all slots are taken, where that is too long; else 0."""
        still = self._slots.stalled_seconds
        return still if still > self._seconds else 0.0

    @property
    def _seconds(self) -> float:
        return self._own_seconds or DECODE_SECONDS

    @contextmanager
    def slot(self, encoded: bytes) -> Iterator[Decode]:
        """Wait for a slot, and give what decodes this picture in it. Raises Overloaded if none was free in time."""
        deadline = time.monotonic() + self._seconds
        if is_ordinary(encoded):
            with self._slots.acquired(deadline):
                yield partial(self._here, encoded)
        else:
            with self._others.acquired(deadline), self._slots.acquired(deadline, self._others_share):
                yield partial(self._elsewhere, encoded, deadline)

    def _here(
        self, encoded: bytes, prepare: Prepare, min_short_side: int | None = None, cores: int = 1, *, fast: bool = False
    ) -> PreparedImage:
        image = decode(encoded, self.limits, min_short_side, fast=fast)
        inputs = prepare(image.oriented.whole(), cores=cores)
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
        if len(encoded) > self.limits.max_bytes:
            raise ImageTooLarge(f"The image has more than the {self.limits.max_bytes} bytes that this service takes.")
        portable = _pickled(prepare)
        expected = _inputs_of(portable) if portable else None
        with self._process(_module_of(prepare) if expected else "", deadline) as process:
            request = {"prepare": prepare if expected else None, "min_short_side": min_short_side, "fast": fast}
            prepared = self._ask(process, encoded, request, expected, deadline)
        if expected:
            return prepared
        return replace(prepared, inputs=prepare(Image.fromarray(prepared.inputs["rgb"]), cores=cores))

    def close(self) -> None:
        """End the processes that have nothing to do."""
        _end(self._idle)

    def _ask(
        self,
        process: DecodingProcess,
        encoded: bytes,
        request: Mapping[str, Any],
        expected: Shapes | None,
        deadline: float,
    ) -> PreparedImage:
        """Return what a process makes of the picture: `expected`, or without it, its RGB samples [height, width, 3]."""
        frames, given, own = process.frames, SMALL_BYTES, 2 * len(encoded)
        # Where more is set aside to open a file, it is limited once that is known; so it has to ask.
        set_aside = format_of(encoded).sets_aside
        request = {**request, "limits": self.limits, "given": 0 if set_aside else given}
        with ExitStack() as memory:
            memory.enter_context(self._memory.acquired(deadline, PROCESS_BYTES + given))
            process.begun = time.monotonic()
            process.limit(own + given + set_aside, self._seconds)
            frames.send(pickle.dumps(request))
            frames.send(encoded)
            sha256 = hashlib.sha256(encoded).hexdigest()  # meanwhile
            answer = frames.receive_fields()
            if "needed" in answer:
                needed = number(answer["needed"])
                if needed > given:
                    process.is_spent = True
                    given = min(PROCESS_BYTES + needed, self._others_bytes) - PROCESS_BYTES
                    memory.close()  # two that each waited for the rest would wait for ever
                    memory.enter_context(self._memory.acquired(deadline, PROCESS_BYTES + given))
                    process.begun = time.monotonic()
                    with contextlib.suppress(AttributeError):  # glibc's: what requests have left is given back first
                        _LIBC.malloc_trim(0)
                process.limit(own + given, self._seconds)
                if process.has_taken_more(own + given):
                    process.is_spent = True
                    raise ImageDimensions(NEEDS_MEMORY)
                frames.send_fields(enough=given >= needed)
                answer = frames.receive_fields()
            return read_answer(answer, frames, sha256, self.limits.max_pixels, expected)

    @contextmanager
    def _process(self, module: str, deadline: float) -> Iterator[DecodingProcess]:
        """Take a process that has nothing to do, or start one; it is kept if it has answered, else killed.

        module: whose class it will be sent, or "" for none
        """
        self._modules |= {module} - {""}
        process = self._take_idle(module) or DecodingProcess(self._modules, self._program)
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

    def _take_idle(self, module: str) -> DecodingProcess | None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was faster
                process = self._idle.pop()
                if process.is_usable() and (not module or module in process.modules):
                    return process
                process.kill()
        return None

    def _give_back(self, process: DecodingProcess) -> None:
        if process.is_spent:
            process.kill()
        else:
            process.idle_since = time.monotonic()
            self._idle.append(process)


def _end(processes: list[DecodingProcess]) -> None:
    while processes:
        processes.pop().kill()


def _pickled(prepare: Prepare) -> bytes | None:
    """Return what another process can run as well, or None."""
    try:
        return pickle.dumps(prepare)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def _module_of(prepare: Prepare) -> str:
    return str(getattr(prepare, "__module__", type(prepare).__module__))


@lru_cache(maxsize=64)
def _inputs_of(pickled: bytes) -> Shapes | None:
    """Return the type and the shape of what is prepared, by name, or None where it depends on the picture."""
    prepare = pickle.loads(pickled)  # noqa: S301  # pickled here
    wide, high = (prepare(Image.new("RGB", size)) for size in ((64, 48), (48, 64)))
    shapes = {name: (values.dtype.str, values.shape) for name, values in wide.items()}
    return shapes if shapes == {name: (values.dtype.str, values.shape) for name, values in high.items()} else None
