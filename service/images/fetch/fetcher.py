"""A URL -> the bytes behind it: resolve, vet every address, connect to a vetted one, bound bytes and total time."""

import http.client
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from service import __version__
from service.errors import GazeError, ImageFetchFailed, ImageFetchTimeout, ImageTooLarge, UrlNotAllowed
from service.images.fetch.addresses import FetchPolicy, IPAddress
from service.images.fetch.urls import encoded, redirected

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FETCH_SECONDS = 15.0  # how long one URL may take, from look-up to last byte, and all that one IIIF URI leads to
MAX_REDIRECTS = 10
MAX_URL_CHARACTERS = 2_083
_REDIRECTS = (301, 302, 303, 307, 308)
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]*)?")
_BLOCK = 64 * 1024
_FRAMING = 1024 * 1024  # head, sizes of chunks and trailers of an answer, in bytes
_GLANCE = 0.001  # seconds for what comes after an answer's end, which should not come
_MAX_ADDRESSES = 4
_RESOLVER_WAITS = 1.0  # for a name server: a resolver that gives up sooner was answered
_TRANSIENT_STATUSES = frozenset((408, 425, 429, *range(500, 600))) - {501, 505}

Resolve = Callable[[str, int], list[IPAddress]]


@dataclass(frozen=True)
class FetchLimits:
    """What fetching one picture may cost at most: bytes after decoding, and seconds from start to end."""

    max_bytes: int
    seconds: float


@dataclass(frozen=True)
class _Resource:
    """What is fetched: its name in error messages, the media types to accept, and its limit."""

    name: str
    accept: str
    max_bytes: int
    excess: type[GazeError]

    def too_large(self) -> GazeError:
        return self.excess(f"The {self.name} has more than the {self.max_bytes} bytes that this service takes.")

    def failed(self, how: str, status: int | None = None) -> ImageFetchFailed:
        failure = ImageFetchFailed(f"The {self.name}'s host {how}.")
        failure.host_status = status
        failure.transient = status in _TRANSIENT_STATUSES
        return failure

    def unresolved(self) -> ImageFetchFailed:
        return self.unreachable(f"The name of the {self.name}'s host could not be resolved.")

    def unreachable(self, detail: str) -> ImageFetchFailed:
        failure = ImageFetchFailed(detail)
        failure.transient = True
        return failure

    def timed_out(self) -> ImageFetchTimeout:
        return ImageFetchTimeout(f"The {self.name}'s host took too long.")


_DOCUMENT = _Resource("document", "application/ld+json, application/json", 0, ImageFetchFailed)


def resolve(host: str, port: int) -> list[IPAddress]:
    """Return all addresses of a host name, as the system resolves it. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class ImageFetcher:
    """Fetches pictures, and documents about them, as a FetchPolicy allows."""

    def __init__(self, policy: FetchPolicy, limits: FetchLimits, resolve: Resolve = resolve) -> None:
        self._policy = policy
        self._image = _Resource("image", "image/*", limits.max_bytes, ImageTooLarge)
        self._seconds = limits.seconds
        self._resolve = resolve
        self._tls = ssl.create_default_context()

    @property
    def max_bytes(self) -> int:
        """What one picture may have."""
        return self._image.max_bytes

    def fetch(self, url: str, deadline: float = float("inf"), max_bytes: int | None = None) -> bytes:
        """Return the bytes behind a URL, at most ten redirects on.

        deadline:  on time.monotonic()'s clock, besides the limit of this fetcher's own.
        max_bytes: of them, where it is less than the limit of this fetcher's own.
        Raises UrlNotAllowed, ImageFetchFailed, ImageFetchTimeout or ImageTooLarge.
        """
        image = self._image if max_bytes is None else replace(self._image, max_bytes=max_bytes)
        return self._fetch(url, deadline, image)

    def fetch_document(self, url: str, deadline: float = float("inf"), max_bytes: int = 16 * 1024 * 1024) -> bytes:
        """Return the bytes of a JSON document behind a URL, at most ten redirects on.

        deadline: on time.monotonic()'s clock, besides the limit of this fetcher's own.
        Raises UrlNotAllowed, ImageFetchFailed or ImageFetchTimeout.
        """
        return self._fetch(url, deadline, replace(_DOCUMENT, max_bytes=max_bytes))

    def _fetch(self, url: str, deadline: float, resource: _Resource) -> bytes:
        deadline = min(deadline, time.monotonic() + self._seconds)
        for _ in range(MAX_REDIRECTS + 1):
            outcome = self._fetch_once(url, deadline, resource)
            if isinstance(outcome, bytes):
                return outcome
            url = outcome
        raise resource.failed(f"redirected more than {MAX_REDIRECTS} times")

    def _fetch_once(self, url: str, deadline: float, resource: _Resource) -> bytes | str:
        """Return the bytes, or the URL that their host redirects to."""
        parts, host, port = self._vetted(url)
        addresses = self._addresses(host, port, deadline, resource)
        with (
            _fetch_errors(resource),
            self._connected(parts.scheme, host, port, addresses, deadline) as connected,
        ):
            connected.settimeout(_left(deadline))
            connected.sendall(_request(parts, resource.accept))
            received = _Received(connected, resource, deadline)
            answer = http.client.HTTPResponse(received, method="GET")  # type: ignore[arg-type]  # it only calls makefile()
            answer.begin()
            location: str | None = answer.headers["Location"]
            if answer.status in _REDIRECTS and location:
                return _redirected(parts.geturl(), location, resource)
            if answer.status != 200:
                raise resource.failed(f"answered with status {answer.status}", answer.status)
            body = _read(answer, resource)
            if answer.headers["Content-Encoding"] and received.has_more():
                # The announced length may be that of the decompressed data, which would cut the compressed ones.
                raise resource.failed("sent more than it announced")
            # Anything after the answer is discarded with the connection.
            return body

    def _vetted(self, url: str) -> tuple[SplitResult, str, int]:
        if not self._policy.enabled:
            raise UrlNotAllowed("This service fetches no URLs; send the image itself.")
        try:
            if len(url) > MAX_URL_CHARACTERS:
                raise ValueError
            # From here on, one text is vetted, resolved, connected to and requested.
            url = encoded(url)
            if not url.isascii() or not url.isprintable() or " " in url:
                raise ValueError
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise UrlNotAllowed("This is no URL that can be fetched.") from None
        if parts.scheme not in ("http", "https"):
            raise UrlNotAllowed("Only http and https URLs are fetched.")
        if "@" in parts.netloc:
            raise UrlNotAllowed("A URL with a user name or password is not fetched.")
        host = (parts.hostname or "").rstrip(".")
        if not _AUTHORITY.fullmatch(parts.netloc) or not host or port == 0:
            raise UrlNotAllowed("This is no URL that can be fetched.")
        return parts, host, port or (443 if parts.scheme == "https" else 80)

    def _addresses(self, host: str, port: int, deadline: float, resource: _Resource) -> list[IPAddress]:
        """Return the addresses of the host to connect to; all that its name has must be allowed."""
        found: Future[list[IPAddress]] = Future()

        def look_up() -> None:
            try:
                found.set_result(self._resolve(host, port))
            except Exception as error:  # noqa: BLE001  # any of them is raised where the result is awaited
                found.set_exception(error)

        # getaddrinfo knows no timeout, so it is left behind in a thread of its own when it takes too long.
        begun = time.monotonic()
        threading.Thread(target=look_up, daemon=True).start()
        try:
            addresses = found.result(_left(deadline))
        except TimeoutError:
            raise resource.timed_out() from None
        except (OSError, UnicodeError) as error:
            if error.args[:1] == (socket.EAI_AGAIN,) and time.monotonic() - begun >= _RESOLVER_WAITS:
                raise resource.timed_out() from None
            raise resource.unresolved() from None
        if not addresses:
            raise resource.unresolved()
        if not all(self._policy.allows(host, port, address) for address in addresses):
            raise UrlNotAllowed("The URL's host, address or port is not one that this service may connect to.")
        return addresses[:_MAX_ADDRESSES]

    def _connected(
        self, scheme: str, host: str, port: int, addresses: list[IPAddress], deadline: float
    ) -> socket.socket:
        """Connect to the first vetted address that takes it; no second look-up can change where that is."""
        for untried in range(len(addresses), 0, -1):
            try:
                # An address that never answers leaves time for the next.
                connected = socket.create_connection((str(addresses[-untried]), port), _left(deadline) / untried)
                break
            except OSError:
                if untried == 1:
                    raise
        if scheme == "http":
            return connected
        connected.settimeout(_left(deadline))
        return self._tls.wrap_socket(connected, server_hostname=host)


class _Wire(io.RawIOBase):
    """What a host sends: so many bytes in all, until one deadline, however it is made up."""

    def __init__(self, connected: socket.socket, resource: _Resource, deadline: float) -> None:
        self._connected = connected
        self._resource = resource
        self._bytes_left = resource.max_bytes + _FRAMING
        self.deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        # A socket's own timeout is one of each wait, and none of what is there already.
        if time.monotonic() >= self.deadline:
            raise TimeoutError
        self._connected.settimeout(_left(self.deadline))
        received = self._connected.recv_into(buffer)
        self._bytes_left -= received
        if self._bytes_left < 0:
            raise self._resource.too_large()
        return received


class _Received(io.BufferedReader):
    """An answer as http.client reads it, which can still be looked at once it was read to what it says is its end."""

    def __init__(self, connected: socket.socket, resource: _Resource, deadline: float) -> None:
        self._wire = _Wire(connected, resource, deadline)
        super().__init__(self._wire, _BLOCK)

    def makefile(self, _mode: str) -> Self:
        return self

    def close(self) -> None:
        """Do nothing: the socket's owner closes it."""

    def has_more(self) -> bool:
        """Say whether anything more is here."""
        self._wire.deadline = min(self._wire.deadline, time.monotonic() + _GLANCE)
        with suppress(OSError):
            return bool(self.peek(1))
        return False


def _read(answer: http.client.HTTPResponse, resource: _Resource) -> bytes:
    headers = urllib3.HTTPHeaderDict(answer.headers.items())
    announced = headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced[:20]) > resource.max_bytes:
        raise resource.too_large()
    if "," in headers.get("Content-Encoding", ""):
        # None was requested. Data compressed twice can take hours to decompress, into nothing.
        raise resource.failed("sent it in more than one Content-Encoding")
    response = urllib3.HTTPResponse(answer, headers, answer.status, preload_content=False, original_response=answer)
    blocks: list[bytes] = []
    size = 0
    for block in response.stream(_BLOCK, decode_content=True):
        size += len(block)
        if size > resource.max_bytes:
            raise resource.too_large()
        blocks.append(block)
    return b"".join(blocks)


def _request(parts: SplitResult, accept: str) -> bytes:
    """Return the request for a vetted URL, which has no blank and no line end in it."""
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    headers = (
        f"Host: {parts.netloc.lower()}",
        f"User-Agent: gaze/{__version__}",
        f"Accept: {accept}",
        "Accept-Encoding: identity",
        "Connection: close",
    )
    return "\r\n".join((f"GET {target} HTTP/1.1", *headers, "", "")).encode("ascii")


def _redirected(url: str, location: str, resource: _Resource) -> str:
    try:
        return redirected(url, location)
    except ValueError:
        raise UrlNotAllowed(f"The {resource.name}'s host redirected to what is no URL.") from None


def _left(deadline: float) -> float:
    # Never 0, which to a socket would mean not to wait at all.
    return max(0.001, deadline - time.monotonic())


@contextmanager
def _fetch_errors(resource: _Resource) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, urllib3.exceptions.TimeoutError):
        raise resource.timed_out() from None
    except ssl.SSLCertVerificationError:
        raise resource.failed("has no certificate that can be trusted") from None
    except (HTTPError, http.client.HTTPException, OSError, ValueError):
        raise resource.unreachable(f"The {resource.name} could not be fetched from its host.") from None
