"""What is known of a request while it arrives, and how its answer leaves."""

import itertools
import socket
import time
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.server.connection import Connection, RequestBuffer, State

GET = b"GET /v1/lists?offset=3 HTTP/1.1\r\nHost: gaze\r\n\r\n"
POST = b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\n"
MAX_HEAD, MAX_BODY = 1000, 500


def received(*pieces: bytes) -> RequestBuffer:
    buffer = RequestBuffer(MAX_HEAD, MAX_BODY)
    for piece in pieces:
        buffer.add(piece)
    return buffer


def test_nothing_has_been_received() -> None:
    nothing = received()
    assert (nothing.is_ready, nothing.is_complete, nothing.head, nothing.size) == (False, False, b"", 0)
    assert nothing.method_and_path == ("", "")
    assert nothing.request_id is None


@pytest.mark.parametrize(
    ("sent", "is_ready", "is_complete"),
    [
        (b"GET / HT", False, False),
        (GET[:-1], False, False),
        (GET, True, True),
        (GET + b"GET /next", True, True),
        (POST + b"Content-Length: 4\r\n\r\n", False, False),
        (POST + b"Content-Length: 4\r\n\r\nabc", False, False),
        (POST + b"Content-Length: 4\r\n\r\nabcd", True, True),
        (POST + b"content-LENGTH \t:\t4 \r\n\r\nabcd", True, True),
        (POST + b"Content-Length: 4\r\n\r\nabcdGET", True, True),
        (POST + b"Content-Length: 500\r\n\r\n", False, False),
        (POST + b"Content-Length: 501\r\n\r\n", True, False),
        (POST + b"Content-Length: 501\r\n\r\nabc", True, False),
        (POST + b"Content-Length: 99999999999999999999\r\n\r\n", True, False),
        (POST + b"Content-Length: 0000000000000000000004\r\n\r\n", True, False),
        (POST + b"Content-Length: -1\r\n\r\n", True, False),
        (POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n", True, False),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", True, False),
        (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nabcd", True, False),
        (POST + b"X-Content-Length: 4\r\n\r\n", True, True),
        (b"a" * (MAX_HEAD - 1), False, False),
        (b"a" * MAX_HEAD, True, False),
    ],
)
def test_when_a_request_is_ready_and_complete(sent: bytes, is_ready: bool, is_complete: bool) -> None:
    buffer = received(sent)
    assert (buffer.is_ready, buffer.is_complete) == (is_ready, is_complete)
    assert buffer.size == len(sent)
    if buffer.head:
        pieces, early = buffer.take()
        assert b"".join(pieces) + early == sent
        assert len(buffer.take()[0]) == 1  # the head


@settings(deadline=None)
@given(
    sent=st.sampled_from([GET, POST + b"Content-Length: 9\r\n\r\nabc\r\n\r\nde", POST + b"X: 1\r\n\r\n", GET + GET]),
    cuts=st.lists(st.integers(0, 120), max_size=12),
)
def test_pieces_make_no_difference(sent: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    together, apart = received(sent), RequestBuffer(MAX_HEAD, MAX_BODY)
    pieces = deque(sent[a:b] for a, b in itertools.pairwise(edges))
    while not apart.is_ready:
        apart.add(pieces.popleft())
    for what in ("is_ready", "is_complete", "head", "method_and_path", "is_chunked"):
        assert getattr(apart, what) == getattr(together, what)
    (request, early), (whole_request, _) = apart.take(), together.take()
    assert b"".join(request) == b"".join(whole_request)
    assert b"".join(request) + early + b"".join(pieces) == sent


def test_method_and_path() -> None:
    assert received(GET).method_and_path == ("GET", "/v1/lists")
    assert received(POST).method_and_path == ("POST", "/v1/gaze")
    assert received(b"GET /livez\r\n\r\n").method_and_path == ("", "")
    assert received(b"\r\nGET / HTTP/1.1\r\n\r\n").method_and_path == ("", "")


@pytest.mark.parametrize(
    ("sent", "request_id"),
    [(b"abc-1._", "abc-1._"), (b"a b", None), (b"", None), (b"x" * 129, None), (b"\xe4", None)],
)
def test_request_id_is_taken_over_where_usable(sent: bytes, request_id: str | None) -> None:
    assert received(POST + b"x-request-ID: " + sent + b"\r\n\r\n").request_id == request_id


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        (b"Host: gaze\r\n", "gaze"),
        (b"hOST :\tgaze \t\r\n", "gaze"),
        (b"Host: a\r\nHost: b\r\n", "a,b"),
        (b"Host:\r\n", ""),
        (b"X-Host: gaze\r\nHosts: gaze\r\n", None),
        (b"", None),
    ],
)
def test_headers_are_as_the_app_gets_them(fields: bytes, value: str | None) -> None:
    assert received(b"POST /v1/gaze HTTP/1.1\r\n" + fields + b"\r\n").header("Host") == value


def test_client_that_waits_for_a_100() -> None:
    head = POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    waiting = received(head)
    assert waiting.expects_continue
    waiting.add(b"ab")
    assert not waiting.expects_continue
    waiting.add(b"c")
    # The parser would tell it a second time.
    assert b"".join(waiting.take()[0]) == POST + b"Content-Length: 3\r\n\r\nabc"
    in_chunks = POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"".join(received(in_chunks).take()[0]) == in_chunks


def test_skipped_bytes_count_as_received() -> None:
    buffer = received(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
    buffer.skip(6)
    assert not buffer.is_complete
    buffer.skip(1)
    assert buffer.is_complete
    assert buffer.take()[0][1:] == [b"abc"]


def test_nothing_of_a_chunked_body_can_be_skipped() -> None:
    buffer = received(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    buffer.skip(1000)
    assert not buffer.is_complete


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    client, accepted = socket.socketpair()
    with client, accepted:
        client.settimeout(10)
        yield client, accepted


def connection(accepted: socket.socket, *pieces: bytes) -> Connection:
    return Connection(accepted, ("192.0.2.1", 1), ("127.0.0.1", 2), received(*pieces))


def test_a_thread_reads_what_is_here_and_then_what_comes(ends: tuple[socket.socket, socket.socket]) -> None:
    client, accepted = ends
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    request = connection(accepted, head).request(time.monotonic() + 0.3)
    client.sendall(b"0\r\n\r\n")
    assert list(request) == [head, b"0\r\n\r\n"]  # its end is the deadline


def test_a_complete_request_ends_where_the_next_begins(ends: tuple[socket.socket, socket.socket]) -> None:
    client, accepted = ends
    conn = connection(accepted, GET + b"GET /next")
    client.sendall(b"more")
    assert list(conn.request(time.monotonic() + 10)) == [GET]
    assert conn.early == b"GET /next"


@pytest.mark.parametrize(
    ("pieces", "unread", "drained"),
    [
        ([GET], b"", True),
        ([GET], b"x", False),
        ([GET + b"x"], b"", False),
        ([POST + b"Content-Length: 9\r\n\r\n"], b"", False),
    ],
)
def test_connection_is_drained(
    ends: tuple[socket.socket, socket.socket], pieces: list[bytes], unread: bytes, drained: bool
) -> None:
    client, accepted = ends
    conn = connection(accepted, *pieces)
    list(conn.request(0.0))
    client.sendall(unread)
    assert conn.is_drained() is drained


@pytest.mark.parametrize("sent", [b"", b"123456789"])
def test_what_is_here_of_a_rejected_body_is_discarded(ends: tuple[socket.socket, socket.socket], sent: bytes) -> None:
    client, accepted = ends
    conn = connection(accepted, POST + b"Content-Length: 9\r\n\r\n")
    client.sendall(sent)
    conn.send_last(b"answer")
    assert client.recv(100) == b"answer"
    assert conn.is_drained() is (sent != b"")


def test_the_least_useful_connection_is_the_idle_one() -> None:
    pairs = [socket.socketpair() for _ in range(6)]
    conns = [connection(accepted, GET[: 10 * (number == 2)]) for number, (_, accepted) in enumerate(pairs)]
    states = (State.IDLE, State.LINGERING, State.RECEIVING, State.RECEIVING, State.SENDING, State.ANSWERING)
    for conn, state in zip(conns, states, strict=True):
        conn.state = state
    ordered = sorted(conns, key=Connection.worth)
    assert ordered == [conns[0], conns[1], conns[3], conns[2], conns[4], conns[5]]
    for client, accepted in pairs:
        client.close()
        accepted.close()
