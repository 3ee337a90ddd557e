"""Fetching over TLS: who does not prove its name is asked nothing, and who stalls is left at the deadline."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme

from service.errors import ImageFetchFailed, ImageFetchTimeout
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FetchLimits, ImageFetcher
from tests.support.origin import Origin, http, moved, slowly

BODY = b"not really a picture" * 1000
OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


def fetcher(seconds: float = 10) -> ImageFetcher:
    """Return a fetcher that finds every host on loopback."""
    return ImageFetcher(
        FetchPolicy.parse("127.0.0.1"), FetchLimits(100_000, seconds), lambda _host, _port: [ip_address("127.0.0.1")]
    )


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A certificate authority that this process trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return authority


def certified(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.mark.parametrize("name", ["museum.example", "127.0.0.1"])
def test_tls_is_spoken_with_a_host_that_proves_its_name(authority: trustme.CA, name: str) -> None:
    with Origin({"/a.png": http(BODY), "/b.png": moved("/a.png")}, certified(authority, name)) as origin:
        trusting = fetcher()
        assert trusting.fetch(f"https://{name}:{origin.port}/b.png") == BODY
    assert f"\r\nHost: {name}:{origin.port}\r\n" in origin.requests[0]


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        (lambda trusted: certified(trusted, "other.example"), "museum.example"),
        (lambda trusted: certified(trusted, "museum.example"), "127.0.0.1"),
        (lambda trusted: certified(trusted, "127.0.0.1"), "museum.example"),
        (lambda _: certified(trustme.CA(), "museum.example"), "museum.example"),
    ],
    ids=["another name", "a name for an address", "an address for a name", "another authority"],
)
def test_a_host_that_does_not_prove_its_name_is_asked_nothing(
    authority: trustme.CA, certificate: Callable[[trustme.CA], ssl.SSLContext], name: str
) -> None:
    with Origin({"/": http(BODY)}, certificate(authority)) as origin:
        with pytest.raises(ImageFetchFailed, match="no certificate that can be trusted"):
            fetcher().fetch(f"https://{name}:{origin.port}/")
        assert origin.connections == 1
    assert origin.requests == []


def test_a_host_without_tls_on_an_https_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(http(BODY))

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ImageFetchFailed):
            fetcher().fetch(f"https://127.0.0.1:{port}/")
        thread.join()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x03\x40\x00"], ids=["silence", "one byte at a time"])
def test_tls_that_stalls_is_left_at_the_deadline(sent: bytes) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def stall() -> None:
            connection, _ = listening.accept()
            with suppress(OSError), connection:  # whoever asked has left it
                for byte in sent:
                    connection.sendall(bytes([byte]))
                    over.wait(0.1)
                over.wait(10)

        thread = threading.Thread(target=stall)
        thread.start()
        begun = time.monotonic()
        try:
            with pytest.raises(ImageFetchTimeout):
                fetcher(0.5).fetch(f"https://127.0.0.1:{listening.getsockname()[1]}/")
            assert time.monotonic() - begun < 2.5
        finally:
            over.set()
            thread.join()


def test_a_slow_body_over_tls_is_left_at_the_deadline(authority: trustme.CA) -> None:
    begun = time.monotonic()
    with Origin({"/": slowly(OPEN, b"x")}, certified(authority, "127.0.0.1")) as origin:
        with pytest.raises(ImageFetchTimeout):
            fetcher(0.5).fetch(f"https://{origin.address}/")
        assert time.monotonic() - begun < 2.5
