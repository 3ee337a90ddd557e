"""Reading and decoding the pictures of items; what is wrong with one becomes its outcome."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

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

PAUSES = (1.0, 4.0)
"""Seconds to wait before each retry of a host that did not respond, or was overloaded."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ItemReader:
    """Reads and decodes the pictures of items, one a call; thread-safe. Whatever is wrong with one is a Failure.

    fetch_smallest: returns the smallest picture of a IIIF image service that serves the model
    min_short_side: as decode() has it
    """

    loader: ImageLoader
    fetch_smallest: Callable[[str], EncodedImage]
    min_short_side: int

    def read(self, item: Item) -> EncodedImage | Failure:
        """Return the bytes of an item's picture, or one byte more than it may have."""
        if item.failure:
            return item.failure
        return _or_failure(partial(self._read, item))

    def prepare(self, encoded: EncodedImage, preprocess: Prepare) -> PreparedImage | Failure:
        """Return the model's input for a picture."""
        return _or_failure(partial(self._prepare, encoded, preprocess))

    def _read(self, item: Item) -> EncodedImage | Failure:
        if item.kind == "service":
            return self.fetch_smallest(item.place)
        if item.kind == "url":
            return self.loader.read(item.place)
        path = Path(item.place)
        # Opening a pipe or a device may block for ever.
        if path.exists() and not path.is_file():
            return Failure(UNREADABLE_FILE, "This is no file.")
        return self.loader.read(path)

    def _prepare(self, encoded: EncodedImage, preprocess: Prepare) -> PreparedImage:
        for _ in range(_DECODING_ATTEMPTS):
            try:
                return self.loader.load(encoded, preprocess, self.min_short_side)
            except Overloaded:  # others are being decoded, and there is time
                continue
        raise Overloaded


def _or_failure(work: Callable[[], _Result]) -> _Result | Failure:
    try:
        return work()
    except GazeError as error:
        return Failure(error.code, error.detail)
    except OSError as error:
        return Failure(UNREADABLE_FILE, f"The file cannot be read ({error.strerror}).")
    except Exception:
        # A defect that one picture triggers does not end the job.
        log.exception("a picture could not be processed")
        return Failure(InternalError.code, "Something went wrong; the log has the details.")


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
