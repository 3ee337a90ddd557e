"""An item -> the bytes of its picture -> what the model takes of it; what is wrong with it becomes an outcome."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from service.bulk.items import Failure, Item
from service.errors import GazeError, ImageFetchFailed, ImageFetchTimeout, InternalError, Overloaded
from service.iiif.document import MOST_BYTES
from service.images.decode import Prepare, PreparedImage
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FetchLimits, ImageFetcher
from service.images.loader import EncodedImage, ImageLoader

log = structlog.get_logger()

UNREADABLE_FILE = "unreadable_file"
"""The code of a file that cannot be read: the service, which reads no files, has none for it."""

_DECODING_ATTEMPTS = 20


class Unreadable(Exception):
    """An item whose picture could not be had, or not be decoded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


@dataclass(frozen=True)
class PictureReader:
    """Reads and decodes pictures, one a call; safe to call from several threads.

    fetch_smallest: returns, of a IIIF image service, the smallest picture that serves the model
    min_short_side: as decode() has it
    """

    loader: ImageLoader
    fetch_smallest: Callable[[str], EncodedImage]
    min_short_side: int

    def encoded(self, item: Item) -> EncodedImage:
        """Return the bytes of an item's picture, or one byte more than it may have. Raises Unreadable."""
        if item.failure:
            raise Unreadable(item.failure)
        with _failures_told():
            if item.kind == "service":
                return self.fetch_smallest(item.place)
            return self.loader.read(_path(item.place) if item.kind == "file" else item.place)

    def prepared(self, encoded: EncodedImage, prepare: Prepare) -> PreparedImage:
        """Return what the model takes of a picture. Raises Unreadable."""
        with _failures_told():
            for _ in range(_DECODING_ATTEMPTS):
                try:
                    return self.loader.load(encoded, prepare, self.min_short_side)
                except Overloaded:  # others took their time, of which there is enough
                    continue
            raise Overloaded


def _path(place: str) -> Path:
    path = Path(place)
    # To open what is no file may wait for ever.
    if path.exists() and not path.is_file():
        raise Unreadable(Failure(UNREADABLE_FILE, "This is no file."))
    return path


@contextmanager
def _failures_told() -> Iterator[None]:
    try:
        yield
    except Unreadable:
        raise
    except GazeError as error:
        # Without what it came of, whose frames would keep the whole picture in memory.
        raise Unreadable(Failure(error.code, error.detail)) from None
    except OSError as error:
        raise Unreadable(Failure(UNREADABLE_FILE, f"The file cannot be read ({error.strerror}).")) from None
    except Exception:
        # One picture that meets a defect does not end a night's work.
        log.exception("a picture could not be looked at")
        raise Unreadable(Failure(InternalError.code, "Something went wrong; the log has the details.")) from None


PAUSES = (1.0, 4.0)
"""Seconds to wait before each retry of a host that did not respond, or was overloaded."""


class RetryingFetcher(ImageFetcher):
    """Retries what may succeed later: a job has time that a request has not.

    A host that never responded through all retries gets a single attempt for each further URL, until it responds.
    """

    def __init__(self, policy: FetchPolicy, limits: FetchLimits, pauses: Sequence[float] = PAUSES) -> None:
        super().__init__(policy, limits)
        self._pauses = pauses
        self._unresponsive: set[str] = set()

    def fetch(self, url: str, deadline: float = float("inf"), max_bytes: int | None = None) -> bytes:
        """Return the bytes of a picture; raises as ImageFetcher does, what the last attempt raised."""
        return self._with_retries(partial(super().fetch, max_bytes=max_bytes), url, deadline)

    def fetch_document(self, url: str, deadline: float = float("inf"), max_bytes: int = MOST_BYTES) -> bytes:
        """Return the bytes of a JSON document; raises as ImageFetcher does, what the last attempt raised."""
        return self._with_retries(partial(super().fetch_document, max_bytes=max_bytes), url, deadline)

    def _with_retries(self, fetch: Callable[[str, float], bytes], url: str, deadline: float) -> bytes:
        host = "".join(url.split("/", 3)[:3]).lower()
        for pause in self._pauses:
            try:
                return self._responded(fetch(url, deadline), host)
            except ImageFetchTimeout:
                if host in self._unresponsive:
                    raise
            except ImageFetchFailed as error:
                if not error.transient:
                    raise
            if time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
        try:
            return self._responded(fetch(url, deadline), host)
        except ImageFetchTimeout:
            self._unresponsive.add(host)
            raise

    def _responded(self, answer: bytes, host: str) -> bytes:
        self._unresponsive.discard(host)
        return answer
