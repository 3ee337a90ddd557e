"""An image's host on loopback, well-behaved or not: its bytes, or the right error, in bounded time and memory."""

import gzip
import socket
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from service.errors import GazeError, ImageFetchFailed, ImageFetchTimeout, ImageTooLarge
from service.images.fetch.addresses import FetchPolicy, IPAddress
from service.images.fetch.fetcher import FetchLimits, ImageFetcher, Resolve, resolve
from tests.support.origin import Answer, Origin, endlessly, http, moved, slowly

BODY = bytes(range(256)) * 40
OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def fetcher(
    max_bytes: int = 100_000, seconds: float = 10, allowed: str = "127.0.0.0/8", resolve: Resolve = resolve
) -> ImageFetcher:
    return ImageFetcher(FetchPolicy.parse(allowed), FetchLimits(max_bytes, seconds), resolve)


def always(*addresses: str) -> Resolve:
    """Resolve every name to these addresses."""
    found: list[IPAddress] = [ip_address(address) for address in addresses]
    return lambda _host, _port: found


def failure(answer: Answer, max_bytes: int = 100_000, seconds: float = 10) -> GazeError:
    """Return the error that an origin's answer leads to, after looking at what every such error must be."""
    begun = time.monotonic()
    with Origin({"/secret.png": answer}) as origin, pytest.raises(GazeError) as raised:
        fetcher(max_bytes, seconds).fetch(f"http://{origin.address}/secret.png?token=secret")
    assert time.monotonic() - begun < seconds + 2
    for told in ("secret", origin.address, str(origin.port), "token", "http:"):
        assert told not in raised.value.detail
    assert raised.value.detail.endswith(".")
    return raised.value


def reset(connection: socket.socket) -> None:
    """Close so that the other side gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def silent(address: str, port: int) -> Iterator[None]:
    """Listen on an address that answers no connection: its queue is full, and the kernel drops what else comes."""
    with ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.bind((address, port))
        listening.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield


@pytest.mark.parametrize(
    "answer",
    [
        http(BODY),
        http(BODY, "Content-Type: text/html", "Set-Cookie: a=b"),
        OPEN + BODY,
        b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
        b"HTTP/1.1 100 Continue\r\n\r\n" + http(BODY),
        CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:1], BODY[1:9000], BODY[9000:], b"")),
        http(gzip.compress(BODY), "Content-Encoding: gzip"),
        http(zlib.compress(BODY), "Content-Encoding: deflate"),
        http(BODY) + b"x",
        http(BODY) + http(b"what nobody asked for"),
        CHUNKED + b"2800\r\n" + BODY + b"\r\n0\r\n\r\n" + http(b"what nobody asked for"),
    ],
    ids=[
        *("length", "headers", "until closed", "HTTP/1.0", "continue", "chunked", "gzip", "deflate"),
        *("longer than it says", "a second answer", "a second answer after chunks"),
    ],
)
def test_the_exact_bytes_are_returned(answer: bytes) -> None:
    with Origin({"/a.png": answer}) as origin:
        assert fetcher().fetch(f"http://{origin.address}/a.png") == BODY


@pytest.mark.parametrize("more", [b"", BODY])
def test_nothing_is_returned_as_nothing(more: bytes) -> None:
    with Origin({"/": http(b"") + more}) as origin:
        assert fetcher().fetch(f"http://{origin.address}/") == b""


def test_what_comes_after_the_announced_end_is_never_the_next_answer() -> None:
    """Each answer has a connection of its own, so that no host can answer for another request than it was asked."""
    with Origin({"/a": http(BODY) + http(b"smuggled"), "/b": http(b"asked for")}) as origin:
        one = fetcher()
        assert [one.fetch(f"http://{origin.address}/{path}") for path in "ab"] == [BODY, b"asked for"]
        assert origin.connections == 2


def test_a_host_that_goes_on_after_the_announced_end_is_not_waited_for() -> None:
    begun = time.monotonic()
    with Origin({"/": endlessly(http(BODY), bytes(10_000))}) as origin:
        assert fetcher().fetch(f"http://{origin.address}/") == BODY
    assert time.monotonic() - begun < 2.5


@pytest.mark.parametrize(
    ("behind_the_host", "asked_for"),
    [
        ("", "/"),
        ("/", "/"),
        ("?a=b", "/?a=b"),
        ("/a%20b/%C3%A9.png?size=1%2F2&x=a+b;c#part", "/a%20b/%C3%A9.png?size=1%2F2&x=a+b;c"),
        ("/iiif/full/max/0/default.jpg;v=1", "/iiif/full/max/0/default.jpg;v=1"),
        ("/a//../b", "/a//../b"),
        ("//evil.example/", "//evil.example/"),
        ("/bilder/Öl auf Holz/größe 1.png ", "/bilder/%C3%96l%20auf%20Holz/gr%C3%B6%C3%9Fe%201.png"),
        ("/a?größe=1 2&b=%20#é", "/a?gr%C3%B6%C3%9Fe=1%202&b=%20"),
        ("\r\n", "/"),
    ],
)
def test_path_and_query_are_asked_for_as_browsers_do(behind_the_host: str, asked_for: str) -> None:
    with Origin({asked_for.partition("?")[0]: http(BODY)}) as origin:
        assert fetcher().fetch(f"http://{origin.address}{behind_the_host}") == BODY
    assert origin.requests[0].startswith(f"GET {asked_for} HTTP/1.1\r\n")


def test_what_is_asked_names_the_host_once_and_carries_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with Origin({"/": http(BODY)}) as origin:
        fetcher(resolve=always("127.0.0.1")).fetch(f"HTTP://Museum.EXAMPLE:{origin.port}/")
    lines = origin.requests[0].split("\r\n")[1:-2]
    headers = dict(line.split(": ") for line in lines)
    assert len(headers) == len(lines)
    assert headers["Host"] == f"museum.example:{origin.port}"
    assert headers["User-Agent"].startswith("gaze/")
    assert headers.keys() == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}


def test_a_trailing_dot_of_a_name_is_no_other_name() -> None:
    with Origin({"/": http(BODY)}) as origin:
        allowed = fetcher(allowed=f"museum.example:{origin.port}", resolve=always("127.0.0.1"))
        assert allowed.fetch(f"http://museum.example.:{origin.port}/") == BODY


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/b.png", "b.png", "//{address}/b.png", "http://{address}/b.png#part"])
def test_redirects_are_followed(status: int, location: str) -> None:
    answers: dict[str, Answer] = {"/b.png": http(BODY)}
    with Origin(answers) as origin:
        answers["/a.png"] = moved(location.format(address=origin.address), status)
        assert fetcher().fetch(f"http://{origin.address}/a.png") == BODY


@pytest.mark.parametrize(
    ("location", "asked_for"),
    [
        ("/bilder/Öl auf Holz/größe 1.png".encode(), "/bilder/%C3%96l%20auf%20Holz/gr%C3%B6%C3%9Fe%201.png"),
        ("/bilder/Öl auf Holz/größe 1.png".encode("latin-1"), "/bilder/%D6l%20auf%20Holz/gr%F6%DFe%201.png"),
        ("Å.png?ü ".encode(), "/bilder/%C3%85.png?%C3%BC"),
        (b"//{address}/a b.png", "/a%20b.png"),
        ("http://münchen.example:{port}/é".encode(), "/%C3%A9"),
    ],
    ids=["UTF-8", "Latin-1", "relative", "of a host", "a host outside ASCII"],
)
def test_a_location_outside_ascii_is_followed_as_browsers_do(location: bytes, asked_for: str) -> None:
    answers: dict[str, Answer] = {asked_for.partition("?")[0]: http(BODY)}
    with Origin(answers) as origin:
        filled = location.replace(b"{address}", origin.address.encode()).replace(b"{port}", b"%d" % origin.port)
        answers["/bilder/alt.png"] = moved(filled.decode("latin-1"))
        found = fetcher(resolve=always("127.0.0.1")).fetch(f"http://{origin.address}/bilder/alt.png")
        assert found == BODY
    assert origin.requests[-1].startswith(f"GET {asked_for} HTTP/1.1\r\n")


def test_ten_redirects_are_followed_and_eleven_are_not() -> None:
    answers: dict[str, Answer] = {f"/{step}": moved(f"/{step - 1}") for step in range(1, 12)}
    with Origin({"/0": http(BODY), **answers}) as origin:
        assert fetcher().fetch(f"http://{origin.address}/10") == BODY
        assert origin.connections == 11
        with pytest.raises(ImageFetchFailed, match="more than 10 times"):
            fetcher().fetch(f"http://{origin.address}/11")
        assert origin.connections == 22


def test_a_loop_of_redirects_ends() -> None:
    with Origin({"/a": moved("/b"), "/b": moved("/a")}) as origin:
        with pytest.raises(ImageFetchFailed, match="more than 10 times"):
            fetcher().fetch(f"http://{origin.address}/a")
        assert origin.connections == 11


def test_redirects_share_one_deadline() -> None:
    def after_a_while(connection: socket.socket) -> None:
        time.sleep(0.5)
        connection.sendall(moved("/"))

    begun = time.monotonic()
    with Origin({"/": after_a_while}) as origin:
        with pytest.raises(ImageFetchTimeout):
            fetcher(seconds=1.3).fetch(f"http://{origin.address}/")
        assert 1.3 <= time.monotonic() - begun < 2.5
        assert origin.connections in (2, 3)


@pytest.mark.parametrize(
    "answer",
    [
        http(BODY, status="404 Not Found"),
        http(BODY, status="500 Internal Server Error"),
        http(BODY, status="206 Partial Content"),
        http(b"", status="204 No Content"),
        http(b"", status="304 Not Modified"),
        http(b"", status="302 Found"),
        http(b"", status="999 Odd"),
        b"",
        b"nonsense\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10241\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n" + BODY,
        CHUNKED + b"5\r\nabc",
        CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nabc\r\n",
        http(b"nonsense", "Content-Encoding: gzip"),
        http(gzip.compress(gzip.compress(BODY)), "Content-Encoding: gzip, gzip"),
        http(gzip.compress(gzip.compress(BODY)), "Content-Encoding: gzip", "Content-Encoding: gzip"),
        http(gzip.compress(BODY), "Content-Encoding: gzip") + b"x",
        http(gzip.compress(BODY)[:-20], "Content-Encoding: gzip") + gzip.compress(BODY)[-20:],
        CHUNKED + b"-5\r\nabc\r\n0\r\n\r\n",
        reset,
    ],
    ids=[
        *("404", "500", "206", "204", "304", "302 to nowhere", "999", "nothing", "no HTTP", "SSH"),
        *("no status", "HTTP/9.9", "200 headers", "a long header", "shorter than it says", "two lengths", "cut chunk"),
        *("no length of a chunk", "no last chunk", "no gzip", "gzip twice", "gzip in two headers"),
        *("packed, longer than it says", "packed, and counted unpacked", "a negative chunk", "reset"),
    ],
)
def test_a_host_that_delivers_no_picture(answer: Answer) -> None:
    assert type(failure(answer)) is ImageFetchFailed


def test_a_port_that_nobody_listens_on() -> None:
    with Origin({"/": b""}) as origin:
        pass
    with pytest.raises(ImageFetchFailed):
        fetcher().fetch(f"http://{origin.address}/")


@pytest.mark.parametrize(
    "answer",
    [
        http(bytes(100_001)),
        OPEN + bytes(100_001),
        CHUNKED + b"186a1\r\n" + bytes(100_001) + b"\r\n0\r\n\r\n",
        endlessly(OPEN, bytes(10_000)),
        endlessly(CHUNKED, b"2710\r\n" + bytes(10_000) + b"\r\n"),
        endlessly(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", bytes(10_000)),
        endlessly(CHUNKED + b"-1\r\n", bytes(10_000)),
        endlessly(CHUNKED + b"0\r\n", b"X: y\r\n" * 1_000),
        endlessly(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", gzip.compress(b"") * 500),
    ],
    ids=[
        *(
            "length",
            "until closed",
            "chunked",
            "endless",
            "endless chunks",
            "a terabyte",
            "an endless chunk",
            "trailers",
        ),
        "packed nothing",
    ],
)
def test_a_body_over_the_limit(answer: Answer) -> None:
    tracemalloc.start()
    try:
        error = failure(answer)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert type(error) is ImageTooLarge
    assert "100000 bytes" in error.detail


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    with Origin({"/": http(bytes(100_000))}) as origin:
        assert fetcher(max_bytes=100_000).fetch(f"http://{origin.address}/") == bytes(100_000)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_bomb_is_counted_as_it_is_decoded(chunked: bool) -> None:
    bomb = gzip.compress(bytes(40_000_000))
    assert len(bomb) < 100_000
    answer = http(bomb, "Content-Encoding: gzip")
    if chunked:
        head = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
        answer = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(bomb), bomb)
    tracemalloc.start()
    try:
        assert type(failure(answer)) is ImageTooLarge
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "answer",
    [
        slowly(b"", b""),
        slowly(b"", b"H"),
        slowly(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        slowly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        slowly(OPEN, b"x"),
        slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"x"),
        slowly(CHUNKED, b"1\r\nx\r\n"),
        slowly(CHUNKED, b"0"),
        slowly(http(gzip.compress(BODY), "Content-Encoding: gzip").replace(b"gzip\r\n", b"gzip\r\nX: y\r\n")[:-9], b""),
    ],
    ids=[
        *("silence", "status line", "a header", "headers", "continue", "until closed", "length", "chunks", "a chunk's"),
        "gzip",
    ],
)
def test_a_slow_host_is_left_at_one_deadline(answer: Answer) -> None:
    begun = time.monotonic()
    assert type(failure(answer, seconds=0.5)) is ImageFetchTimeout
    assert time.monotonic() - begun >= 0.5


def test_a_host_that_is_never_silent_is_left_at_the_deadline_too() -> None:
    begun = time.monotonic()
    with Origin({"/": endlessly(OPEN, b"x" * 100)}) as origin, pytest.raises(ImageFetchTimeout):
        fetcher(10**9, 0.5).fetch(f"http://{origin.address}/")
    assert 0.5 <= time.monotonic() - begun < 2.5


def test_the_callers_deadline_counts_as_well() -> None:
    begun = time.monotonic()
    with Origin({"/": slowly(OPEN, b"x")}) as origin, pytest.raises(ImageFetchTimeout):
        fetcher(seconds=60).fetch(f"http://{origin.address}/", deadline=begun + 0.3)
    assert 0.3 <= time.monotonic() - begun < 2.5


def test_a_deadline_that_has_passed_is_a_timeout() -> None:
    with Origin({"/": slowly(OPEN, b"x")}) as origin, pytest.raises(ImageFetchTimeout):
        fetcher().fetch(f"http://{origin.address}/", deadline=time.monotonic() - 1)


def test_a_name_server_that_hangs_is_left_at_the_deadline() -> None:
    over = threading.Event()

    def hang(_host: str, _port: int) -> list[IPAddress]:
        over.wait(10)
        return [ip_address("127.0.0.1")]

    begun = time.monotonic()
    try:
        with pytest.raises(ImageFetchTimeout):
            fetcher(seconds=0.3, resolve=hang).fetch("http://museum.example/")
    finally:
        over.set()
    assert time.monotonic() - begun < 2.5


@pytest.mark.parametrize("error", [socket.gaierror(-2, "museum.example is unknown"), OSError("no network"), None])
def test_a_name_without_an_address(error: OSError | None) -> None:
    def unknown(_host: str, _port: int) -> list[IPAddress]:
        if error:
            raise error
        return []

    with pytest.raises(ImageFetchFailed, match="could not be resolved") as raised:
        fetcher(resolve=unknown).fetch("http://museum.example/")
    assert "museum" not in raised.value.detail


@pytest.mark.parametrize(("seconds", "error"), [(0, ImageFetchFailed), (1, ImageFetchTimeout)])
def test_a_resolver_that_gives_up_after_waiting_was_too_slow(seconds: float, error: type[GazeError]) -> None:
    def give_up(_host: str, _port: int) -> list[IPAddress]:
        time.sleep(seconds)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    with pytest.raises(error):
        fetcher(resolve=give_up).fetch("http://museum.example/")


def test_the_next_address_is_tried_where_one_takes_no_connection() -> None:
    with Origin({"/": http(BODY)}) as origin:
        several = always("127.0.0.3", "127.0.0.2", "127.0.0.1")
        assert fetcher(resolve=several).fetch(f"http://museum.example:{origin.port}/") == BODY
        with pytest.raises(ImageFetchFailed):
            fetcher(resolve=always("127.0.0.3", "127.0.0.2")).fetch(f"http://museum.example:{origin.port}/")


def test_an_address_that_is_silent_leaves_time_for_the_next() -> None:
    with Origin({"/": http(BODY)}) as origin, silent("127.0.0.2", origin.port):
        begun = time.monotonic()
        several = always("127.0.0.2", "127.0.0.1")
        assert fetcher(seconds=2, resolve=several).fetch(f"http://museum.example:{origin.port}/") == BODY
        assert 0.9 <= time.monotonic() - begun < 2
        with pytest.raises(ImageFetchTimeout):
            fetcher(seconds=0.5, resolve=always("127.0.0.2")).fetch(f"http://museum.example:{origin.port}/")


def test_only_the_first_four_addresses_are_tried() -> None:
    with Origin({"/": http(BODY)}) as origin:
        fifth = always("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.1")
        with pytest.raises(ImageFetchFailed):
            fetcher(resolve=fifth).fetch(f"http://museum.example:{origin.port}/")
        assert origin.connections == 0


def test_an_error_that_is_kept_keeps_no_socket_open() -> None:
    kept: list[GazeError] = []
    before = len(list(Path("/proc/self/fd").iterdir()))
    two_lengths = b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n" + BODY
    for answer in (two_lengths, http(b"nonsense", "Content-Encoding: gzip"), OPEN + bytes(100_001)):
        kept += [failure(answer) for _ in range(5)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(kept) == 15


def test_a_proxy_in_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with Origin({"/": http(b"from the proxy")}) as proxy, Origin({"/": http(BODY)}) as origin:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.address}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert fetcher().fetch(f"http://{origin.address}/") == BODY
        assert proxy.connections == 0
