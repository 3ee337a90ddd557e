"""Fetching a JSON document: with the guards of a picture, a limit of its own, and errors that speak of a document."""

import gzip
import json
import time
import tracemalloc

import pytest

from service.errors import GazeError, ImageFetchFailed, ImageFetchTimeout, UrlNotAllowed
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FetchLimits, ImageFetcher
from tests.support.origin import Answer, Origin, endlessly, http, moved, slowly

OPEN = b"HTTP/1.1 200 OK\r\n\r\n"
MIB = 1024 * 1024


def fetcher(allowed: str = "127.0.0.0/8", seconds: float = 10) -> ImageFetcher:
    """Return a fetcher whose limit for pictures is smaller than any document here."""
    return ImageFetcher(FetchPolicy.parse(allowed), FetchLimits(10, seconds))


def test_json_is_asked_for_and_has_another_limit_than_pictures() -> None:
    body = json.dumps({"label": "x" * 16 * (MIB - 1)}).encode()
    with Origin({"/a": moved("/b", 303), "/b": http(body)}) as origin:
        assert fetcher().fetch_document(f"http://{origin.address}/a") == body
    for request in origin.requests:
        assert "\r\nAccept: application/ld+json, application/json\r\n" in request


@pytest.mark.parametrize(
    "answer",
    [
        http(b"", f"Content-Length: {16 * MIB + 1}").replace(b"Content-Length: 0\r\n", b""),
        endlessly(OPEN, b" " * 65_536),
        http(gzip.compress(b" " * 100 * MIB, mtime=0), "Content-Encoding: gzip"),
    ],
    ids=["announced", "endless", "unpacked"],
)
def test_a_document_of_more_than_16_mib(answer: Answer) -> None:
    tracemalloc.start()
    try:
        with (
            Origin({"/": answer}) as origin,
            pytest.raises(ImageFetchFailed, match="The document has more than the 167"),
        ):
            fetcher().fetch_document(f"http://{origin.address}/")
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (http(b"", status="404 Not Found"), "The document's host answered with status 404."),
        (moved("/"), "The document's host redirected more than 10 times."),
        (b"nonsense", "The document could not be fetched from its host."),
        (
            http(gzip.compress(b"{}", mtime=0), "Content-Encoding: gzip") + b"more",
            "The document's host sent more than it announced.",
        ),
        (http(b"{}", "Content-Encoding: gzip, gzip"), "The document's host sent it in more than one Content-Encoding."),
    ],
)
def test_what_is_told_of_a_document(answer: Answer, told: str) -> None:
    with Origin({"/": answer}) as origin, pytest.raises(ImageFetchFailed) as raised:
        fetcher().fetch_document(f"http://{origin.address}/")
    assert raised.value.detail == told


def test_a_document_that_trickles_is_left_at_the_deadline() -> None:
    begun = time.monotonic()
    with Origin({"/": slowly(OPEN, b" ")}) as origin, pytest.raises(ImageFetchTimeout) as raised:
        fetcher().fetch_document(f"http://{origin.address}/", begun + 0.5)
    assert raised.value.detail == "The document's host took too long."
    assert time.monotonic() - begun < 2.5


def test_a_document_is_fetched_from_nowhere_that_a_picture_is_not() -> None:
    inside: dict[str, Answer] = {"/": http(b"{}")}
    with Origin(inside) as origin:
        with pytest.raises(UrlNotAllowed):
            fetcher("public").fetch_document(f"http://{origin.address}/")
        assert origin.connections == 0
        with Origin({"/": moved(f"http://{origin.address}/")}) as outside:
            with pytest.raises(UrlNotAllowed):
                fetcher(outside.address).fetch_document(f"http://{outside.address}/")
            assert outside.connections == 1
        assert origin.connections == 0


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "manifest.json", "http://a:b@a.example/"])
def test_what_is_no_url_of_a_document(url: str) -> None:
    with pytest.raises(GazeError) as raised:
        fetcher().fetch_document(url)
    assert isinstance(raised.value, UrlNotAllowed)
