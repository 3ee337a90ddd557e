"""A URL -> the bytes behind it: resolve, vet every address, connect to a vetted one, bound bytes and total time."""

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
from urllib3.exceptions import DecodeError, HTTPError

from service import __version__
from service.errors import ImageFetchFailed, ImageFetchTimeout, ImageTooLarge, UrlNotAllowed
from service.images.addresses import FetchPolicy, IPAddress

MAX_REDIRECTS = 10
MAX_URL_CHARACTERS = 2_083
_REDIRECTS = (301, 302, 303, 307, 308)
_BLOCK = 64 * 1024

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
        address = self._address(host, port, deadline)
        connection = self._connection(parts.scheme, host, port, address, deadline)
        expired = threading.Event()
        timer: threading.Timer | None = None
        try:
            connection.connect()
            # A socket's timeout is one of each wait; this one is of everything together.
            timer = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, (connection.sock, expired))
            timer.daemon = True
            timer.start()
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
            response = connection.getresponse()
            if response.status in _REDIRECTS and response.headers.get("Location"):
                return urljoin(url, response.headers["Location"])
            if response.status != 200:
                raise ImageFetchFailed(f"The image's host answered with status {response.status}.")
            return self._read(response)
        except (HTTPError, OSError, ValueError, DecodeError) as error:
            if expired.is_set() or isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError)):
                raise ImageFetchTimeout from None
            if isinstance(error, (ssl.SSLError, urllib3.exceptions.SSLError)):
                raise ImageFetchFailed("The image's host has no certificate that can be trusted.") from None
            raise ImageFetchFailed from None
        finally:
            if timer:
                timer.cancel()
            connection.close()

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
        if not parts.hostname or port == 0:
            raise UrlNotAllowed("This is no URL that can be fetched.")
        return parts, parts.hostname.rstrip("."), port or (443 if parts.scheme == "https" else 80)

    def _address(self, host: str, port: int, deadline: float) -> IPAddress:
        """Return an address of the host to connect to; all of its addresses must be allowed."""
        found: Future[list[IPAddress]] = Future()

        def look_up() -> None:
            try:
                found.set_result(self._resolve(host, port))
            except (OSError, UnicodeError) as error:
                found.set_exception(error)

        # getaddrinfo knows no timeout, so it is left behind in a thread of its own when it takes too long.
        threading.Thread(target=look_up, daemon=True).start()
        try:
            addresses = found.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise ImageFetchTimeout from None
        except (OSError, UnicodeError):
            raise ImageFetchFailed("The name of the image's host could not be resolved.") from None
        if not addresses:
            raise ImageFetchFailed("The name of the image's host could not be resolved.")
        if not all(self._policy.allows(host, port, address) for address in addresses):
            raise UrlNotAllowed("The URL's host, address or port is not one that this service may connect to.")
        return addresses[0]

    def _connection(
        self, scheme: str, host: str, port: int, address: IPAddress, deadline: float
    ) -> urllib3.connection.HTTPConnection:
        """Return a connection, not yet open, to the vetted address itself, so that no second look-up can change it."""
        seconds = max(0.001, deadline - time.monotonic())
        if scheme == "http":
            return urllib3.connection.HTTPConnection(str(address), port, timeout=seconds)
        return urllib3.connection.HTTPSConnection(
            str(address), port, timeout=seconds, ssl_context=self._tls, server_hostname=host, assert_hostname=host
        )

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        blocks: list[bytes] = []
        size = 0
        for block in response.stream(_BLOCK, decode_content=True):
            size += len(block)
            if size > self._limits.max_bytes:
                raise ImageTooLarge(
                    f"The image has more than the {self._limits.max_bytes} bytes that this service takes."
                )
            blocks.append(block)
        return b"".join(blocks)


def _cut(connected: socket.socket, expired: threading.Event) -> None:
    expired.set()
    with contextlib.suppress(OSError):  # it may be closed already
        connected.shutdown(socket.SHUT_RDWR)
