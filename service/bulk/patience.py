"""PatientFetcher: a fetcher that asks once more where it may help; a night has the time that a request has not."""

import re
import time
from collections.abc import Callable, Sequence
from functools import partial

from service.errors import ImageFetchFailed, ImageFetchTimeout
from service.iiif.document import MOST_BYTES
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FetchLimits, ImageFetcher

PAUSES = (1.0, 4.0)
"""Seconds before a host is asked once more that did not answer, or that said that it could not just now."""

_MAY_PASS = re.compile(r"could not be (fetched|resolved)|status (408|425|429|50[^15]|5[1-9]\d)")
"""In what a fetcher says of a host that may answer another time."""


class PatientFetcher(ImageFetcher):
    """Fetches as an ImageFetcher does, and once more after each pause where a host was slow, away or overworked.

    A host that stayed silent through all of that is asked once for each further picture, until it answers.
    """

    def __init__(self, policy: FetchPolicy, limits: FetchLimits, pauses: Sequence[float] = PAUSES) -> None:
        super().__init__(policy, limits)
        self._pauses = pauses
        self._silent: set[str] = set()

    def fetch(self, url: str, deadline: float = float("inf"), max_bytes: int | None = None) -> bytes:
        """Return the bytes of a picture; raises as ImageFetcher does, what the last attempt did."""
        return self._patiently(partial(super().fetch, max_bytes=max_bytes), url, deadline)

    def fetch_document(self, url: str, deadline: float = float("inf"), max_bytes: int = MOST_BYTES) -> bytes:
        """Return the bytes of a JSON document; raises as ImageFetcher does, what the last attempt did."""
        return self._patiently(partial(super().fetch_document, max_bytes=max_bytes), url, deadline)

    def _patiently(self, fetch: Callable[[str, float], bytes], url: str, deadline: float) -> bytes:
        host = "".join(url.split("/", 3)[:3]).lower()
        for pause in self._pauses:
            try:
                return self._heard(fetch(url, deadline), host)
            except ImageFetchTimeout:
                if host in self._silent:
                    raise
            except ImageFetchFailed as error:
                if not _MAY_PASS.search(error.detail):
                    raise
            if time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
        try:
            return self._heard(fetch(url, deadline), host)
        except ImageFetchTimeout:
            self._silent.add(host)
            raise

    def _heard(self, answer: bytes, host: str) -> bytes:
        self._silent.discard(host)
        return answer
