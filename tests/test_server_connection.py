"""Arrival knows when there is enough of a request for a thread to begin, however it comes in pieces."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.server.request_buffer import Arrival

GET = b"GET /v1/lists?offset=3 HTTP/1.1\r\nHost: gaze\r\n\r\n"
POST = b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\n"
MAX_HEAD, MAX_BODY = 1000, 500


def arrival(*pieces: bytes) -> Arrival:
    arriving = Arrival(MAX_HEAD, MAX_BODY)
    for piece in pieces:
        arriving.add(piece)
    return arriving


def test_nothing_has_come() -> None:
    nothing = arrival()
    assert (nothing.can_begin, nothing.whole, nothing.head, nothing.size) == (False, False, None, 0)
    assert nothing.method_and_path == ("", "")
    assert nothing.request_id is None


@pytest.mark.parametrize(
    ("sent", "can_begin", "whole"),
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
def test_enough_has_come(sent: bytes, can_begin: bool, whole: bool) -> None:
    arriving = arrival(sent)
    assert (arriving.can_begin, arriving.whole) == (can_begin, whole)
    assert arriving.size == len(sent)
    if arriving.head is not None:
        assert b"".join(arriving.release()) == sent
        assert b"".join(arriving.release()) == arriving.head


@settings(deadline=None)
@given(
    sent=st.sampled_from([GET, POST + b"Content-Length: 9\r\n\r\nabc\r\n\r\nde", POST + b"X: 1\r\n\r\n", GET + GET]),
    cuts=st.lists(st.integers(0, 120), max_size=12),
)
def test_pieces_make_no_difference(sent: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    together, apart = arrival(sent), arrival(*[sent[a:b] for a, b in itertools.pairwise(edges)])
    for what in ("can_begin", "whole", "head", "size", "method_and_path", "in_chunks"):
        assert getattr(apart, what) == getattr(together, what)
    assert b"".join(apart.release()) == sent


def test_what_is_asked_for() -> None:
    assert arrival(GET).method_and_path == ("GET", "/v1/lists")
    assert arrival(POST).method_and_path == ("POST", "/v1/gaze")
    assert arrival(b"GET /livez\r\n\r\n").method_and_path == ("", "")
    assert arrival(b"\r\nGET / HTTP/1.1\r\n\r\n").method_and_path == ("", "")


@pytest.mark.parametrize(
    ("sent", "request_id"),
    [(b"abc-1._", "abc-1._"), (b"a b", None), (b"", None), (b"x" * 129, None), (b"\xe4", None)],
)
def test_request_id_is_taken_over_if_it_is_one(sent: bytes, request_id: str | None) -> None:
    assert arrival(POST + b"x-request-ID: " + sent + b"\r\n\r\n").request_id == request_id


def test_origin() -> None:
    assert arrival(POST + b"Origin: https://museum.example\r\n\r\n").origin == "https://museum.example"
    assert arrival(POST + b"\r\n").origin is None


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
def test_other_headers_are_as_the_app_gets_them(fields: bytes, value: str | None) -> None:
    assert arrival(b"POST /v1/gaze HTTP/1.1\r\n" + fields + b"\r\n").header("Host") == value


def test_caller_that_waits_to_be_told_to_go_on() -> None:
    head = POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    waiting = arrival(head)
    assert waiting.expects_continue
    waiting.add(b"ab")
    assert not waiting.expects_continue
    waiting.add(b"c")
    # The parser would tell it a second time.
    assert b"".join(waiting.release()) == POST + b"Content-Length: 3\r\n\r\nabc"
    in_chunks = POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"".join(arrival(in_chunks).release()) == in_chunks


def test_what_is_skipped_counts_as_come() -> None:
    arrival = Arrival(1000, 1000)
    arrival.add(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
    arrival.skip(6)
    assert not arrival.whole
    arrival.skip(1)
    assert arrival.whole
    assert arrival.release()[1:] == [b"abc"]


def test_nothing_of_a_body_in_chunks_can_be_skipped() -> None:
    arrival = Arrival(1000, 1000)
    arrival.add(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    arrival.skip(1000)
    assert not arrival.whole
