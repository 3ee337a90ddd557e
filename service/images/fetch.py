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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from service import __version__
from service.errors import ImageFetchFailed, ImageFetchTimeout, ImageTooLarge, UrlNotAllowed
from service.images.addresses import FetchPolicy, IPAddress

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_REDIRECTS = 10
MAX_URL_CHARACTERS = 2_083
_REDIRECTS = (301, 302, 303, 307, 308)
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]*)?")
_BLOCK = 64 * 1024
_FRAMING = 1024 * 1024  # head, sizes of chunks and trailers of an answer, in bytes
_GLANCE = 0.001  # seconds for what comes after an answer's end, which nobody should send
_MAX_ADDRESSES = 4
_RESOLVER_WAITS = 1.0  # for a name server: a resolver that gives up sooner was answered

Resolve = Callable[[str, int], list[IPAddress]]


@dataclass(frozen=True)
class FetchLimits:
    """What fetching one picture may cost at most: bytes after decoding, and seconds from start to end."""

    max_bytes: int
    seconds: float


def resolve(host: str, port: int) -> list[IPAddress]:
    """Return all addresses of a host name, as the system resolves it. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class ImageFetcher:
    """Fetches pictures as a FetchPolicy allows."""

    def __init__(self, policy: FetchPolicy, limits: FetchLimits, resolve: Resolve = resolve) -> None:
        self._policy = policy
        self._limits = limits
        self._resolve = resolve
        self._tls = ssl.create_default_context()

    def fetch(self, url: str, deadline: float = float("inf")) -> bytes:
        """Return the bytes behind a URL, at most ten redirects on.

        deadline: on time.monotonic()'s clock, besides the limit of this fetcher's own.
        Raises UrlNotAllowed, ImageFetchFailed, ImageFetchTimeout or ImageTooLarge.
        """
        deadline = min(deadline, time.monotonic() + self._limits.seconds)
        for _ in range(MAX_REDIRECTS + 1):
            outcome = self._fetch_once(url, deadline)
            if isinstance(outcome, bytes):
                return outcome
            url = outcome
        raise ImageFetchFailed(f"The image's host redirected more than {MAX_REDIRECTS} times.")

    def _fetch_once(self, url: str, deadline: float) -> bytes | str:
        """Return the picture's bytes, or the URL that its host redirects to."""
        parts, host, port = self._vetted(url)
        addresses = self._addresses(host, port, deadline)
        with (
            _failures_told(),
            self._connected(parts.scheme, host, port, addresses, deadline) as connected,
        ):
            connected.settimeout(_left(deadline))
            connected.sendall(_request(parts))
            received = _Received(connected, self._limits.max_bytes, deadline)
            answer = http.client.HTTPResponse(received, method="GET")  # type: ignore[arg-type]  # all it wants is a file
            answer.begin()
            location: str | None = answer.headers["Location"]
            if answer.status in _REDIRECTS and location:
                return _redirected(url, location)
            if answer.status != 200:
                raise ImageFetchFailed(f"The image's host answered with status {answer.status}.")
            body = self._read(answer)
            if received.has_more():
                raise ImageFetchFailed("The image's host sent more than it announced.")
            return body

    def _vetted(self, url: str) -> tuple[SplitResult, str, int]:
        if not self._policy.enabled:
            raise UrlNotAllowed("This service fetches no URLs; send the image itself.")
        try:
            if len(url) > MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
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

    def _addresses(self, host: str, port: int, deadline: float) -> list[IPAddress]:
        """Return the addresses of the host to connect to; all that its name has must be allowed."""
        found: Future[list[IPAddress]] = Future()

        def look_up() -> None:
            try:
                found.set_result(self._resolve(host, port))
            except Exception as error:  # noqa: BLE001  # whatever it is, who waits must hear of it
                found.set_exception(error)

        # getaddrinfo knows no timeout, so it is left behind in a thread of its own when it takes too long.
        threading.Thread(target=look_up, daemon=True).start()
        begun = time.monotonic()
        try:
            addresses = found.result(_left(deadline))
        except TimeoutError:
            raise ImageFetchTimeout from None
        except (OSError, UnicodeError) as error:
            if error.args[:1] == (socket.EAI_AGAIN,) and time.monotonic() - begun >= _RESOLVER_WAITS:
                raise ImageFetchTimeout from None
            raise ImageFetchFailed("The name of the image's host could not be resolved.") from None
        if not addresses:
            raise ImageFetchFailed("The name of the image's host could not be resolved.")
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

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        headers = urllib3.HTTPHeaderDict(answer.headers.items())
        announced = headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced[:20]) > self._limits.max_bytes:
            raise _too_large(self._limits.max_bytes)
        if "," in headers.get("Content-Encoding", ""):
            # Nobody asked for any. What is packed twice can take hours to unpack, into nothing.
            raise ImageFetchFailed("The image's host sent it in more than one Content-Encoding.")
        response = urllib3.HTTPResponse(answer, headers, answer.status, preload_content=False, original_response=answer)
        blocks: list[bytes] = []
        size = 0
        for block in response.stream(_BLOCK, decode_content=True):
            size += len(block)
            if size > self._limits.max_bytes:
                raise _too_large(self._limits.max_bytes)
            blocks.append(block)
        return b"".join(blocks)


class _Wire(io.RawIOBase):
    """What a host sends: so many bytes in all, until one deadline, however it is made up."""

    def __init__(self, connected: socket.socket, max_bytes: int, deadline: float) -> None:
        self._connected = connected
        self._max_bytes = max_bytes
        self._to_come = max_bytes + _FRAMING
        self.deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        # A socket's own timeout is one of each wait, and none of what is there already.
        if time.monotonic() >= self.deadline:
            raise TimeoutError
        self._connected.settimeout(_left(self.deadline))
        received = self._connected.recv_into(buffer)
        self._to_come -= received
        if self._to_come < 0:
            raise _too_large(self._max_bytes)
        return received


class _Received(io.BufferedReader):
    """An answer as http.client reads it, which can still be looked at once it was read to what it says is its end."""

    def __init__(self, connected: socket.socket, max_bytes: int, deadline: float) -> None:
        self._wire = _Wire(connected, max_bytes, deadline)
        super().__init__(self._wire, _BLOCK)

    def makefile(self, _mode: str) -> Self:
        return self

    def close(self) -> None:
        """Do nothing: the connection is closed by who opened it."""

    def has_more(self) -> bool:
        """Say whether anything more is here."""
        self._wire.deadline = min(self._wire.deadline, time.monotonic() + _GLANCE)
        with suppress(OSError):
            return bool(self.peek(1))
        return False


def _request(parts: SplitResult) -> bytes:
    """Return the request for a vetted URL, which has no blank and no line end in it."""
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    headers = (
        f"Host: {parts.netloc.lower()}",
        f"User-Agent: gaze/{__version__}",
        "Accept: image/*",
        "Accept-Encoding: identity",
        "Connection: close",
    )
    return "\r\n".join((f"GET {target} HTTP/1.1", *headers, "", "")).encode("ascii")


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise UrlNotAllowed("The image's host redirected to what is no URL.") from None


def _too_large(max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"The image has more than the {max_bytes} bytes that this service takes.")


def _left(deadline: float) -> float:
    # Never 0, which to a socket would mean not to wait at all.
    return max(0.001, deadline - time.monotonic())


@contextmanager
def _failures_told() -> Iterator[None]:
    try:
        yield
    except (TimeoutError, urllib3.exceptions.TimeoutError):
        raise ImageFetchTimeout from None
    except ssl.SSLCertVerificationError:
        raise ImageFetchFailed("The image's host has no certificate that can be trusted.") from None
    except (HTTPError, http.client.HTTPException, OSError, ValueError):
        raise ImageFetchFailed from None
