"""A URL -> the bytes behind it: resolve, vet every address, connect to a vetted one, bound bytes and total time."""

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from service import __version__
from service.errors import ImageFetchFailed, ImageFetchTimeout, ImageTooLarge, UrlNotAllowed
from service.images.addresses import FetchPolicy, IPAddress

MAX_REDIRECTS = 10
MAX_URL_CHARACTERS = 2_083
_REDIRECTS = (301, 302, 303, 307, 308)
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]*)?")
_BLOCK = 64 * 1024
_MAX_ADDRESSES = 4

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
            _closed_after(self._connected(parts.scheme, host, port, addresses, deadline)) as connected,
            _cut_at(deadline, connected),
            closing(urllib3.connection.HTTPConnection(host, port, timeout=_left(deadline))) as connection,
        ):
            connection.sock = connected
            connection.request(
                "GET",
                f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}",
                headers={
                    "Host": parts.netloc.lower(),
                    "User-Agent": f"gaze/{__version__}",
                    "Accept": "image/*",
                    "Accept-Encoding": "identity",
                },
                preload_content=False,
                decode_content=True,
            )
            with connection.getresponse() as response:
                if response.status in _REDIRECTS and response.headers.get("Location"):
                    return urljoin(url, response.headers["Location"])
                if response.status != 200:
                    raise ImageFetchFailed(f"The image's host answered with status {response.status}.")
                return self._read(response)

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
        try:
            addresses = found.result(_left(deadline))
        except TimeoutError:
            raise ImageFetchTimeout from None
        except (OSError, UnicodeError):
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

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced[:20]) > self._limits.max_bytes:
            raise self._too_large()
        blocks: list[bytes] = []
        size = 0
        for block in response.stream(_BLOCK, decode_content=True):
            size += len(block)
            if size > self._limits.max_bytes:
                raise self._too_large()
            blocks.append(block)
        return b"".join(blocks)

    def _too_large(self) -> ImageTooLarge:
        return ImageTooLarge(f"The image has more than the {self._limits.max_bytes} bytes that this service takes.")


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


@contextmanager
def _closed_after(connected: socket.socket) -> Iterator[socket.socket]:
    try:
        yield connected
    finally:
        # A socket's own close() leaves it open while an answer to read from is alive, if only in an error's traceback.
        with suppress(OSError):
            socket.close(connected.detach())


@contextmanager
def _cut_at(deadline: float, connected: socket.socket) -> Iterator[None]:
    """Shut the connection at the deadline: a socket's own timeout is one of each wait, this one is of all together."""
    expired = threading.Event()

    def cut() -> None:
        expired.set()
        with suppress(OSError):  # it may be closed already
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(_left(deadline), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if expired.is_set():
            # Whatever came of it: what was cut off reads like an answer that ended there.
            raise ImageFetchTimeout from None
