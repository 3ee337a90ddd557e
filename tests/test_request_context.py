"""A deadline ends with its deadline, and when the caller closes the connection."""

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from service.api.request_context import RequestDeadline
from service.errors import CallerGone, Overloaded


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a TCP connection: the service's and the caller's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = socket.create_connection(listener.getsockname())
        service, _ = listener.accept()
        with service, caller:
            yield service, caller


def test_claim_without_a_connection_ends_with_its_deadline() -> None:
    RequestDeadline(time.monotonic() + 60).check()
    with pytest.raises(Overloaded) as late:
        RequestDeadline(time.monotonic() - 0.001).check()
    assert late.value.retry_after == 1


def test_claim_can_be_extended() -> None:
    late = RequestDeadline(time.monotonic() - 1)
    late.extended(60).check()
    with pytest.raises(Overloaded):
        late.extended(0.5).check()


def test_caller_that_is_there(ends: tuple[socket.socket, socket.socket]) -> None:
    service, caller = ends
    deadline = RequestDeadline(time.monotonic() + 60, service)
    deadline.check()
    caller.sendall(b"the next request")
    deadline.check()
    began = time.monotonic()
    for _ in range(100):
        deadline.check()
    assert time.monotonic() - began < 1  # others wait meanwhile


def test_caller_that_is_there_has_no_more_time_than_others(ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(Overloaded):
        RequestDeadline(time.monotonic() - 0.001, ends[0]).check()


@pytest.mark.parametrize("linger", [None, struct.pack("ii", 1, 0)], ids=["closed", "reset"])
def test_caller_that_is_gone(ends: tuple[socket.socket, socket.socket], linger: bytes | None) -> None:
    service, caller = ends
    if linger:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    caller.close()
    deadline = RequestDeadline(time.monotonic() + 60, service)
    time.sleep(0.05)  # until the other end of loopback has heard of it
    with pytest.raises(CallerGone):
        deadline.check()
    with pytest.raises(CallerGone):
        deadline.extended(60).check()


@pytest.mark.parametrize("interim", [True, False], ids=["HTTP/1.1", "HTTP/1.0"])
def test_caller_that_sends_no_more_and_waits(ends: tuple[socket.socket, socket.socket], interim: bool) -> None:
    service, caller = ends
    caller.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    deadline = RequestDeadline(time.monotonic() + 60, service, interim)
    for each in (deadline, deadline.extended(60), deadline):
        each.check()
    service.sendall(b"HTTP/1.1 200 OK\r\n")
    service.close()
    sent = b"".join(iter(lambda: caller.recv(100), b""))
    assert sent == (b"HTTP/1.1 100 Continue\r\n\r\n" if interim else b"") + b"HTTP/1.1 200 OK\r\n"


def test_caller_that_waits_and_then_goes(ends: tuple[socket.socket, socket.socket]) -> None:
    service, caller = ends
    caller.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    deadline = RequestDeadline(time.monotonic() + 60, service)
    deadline.check()
    caller.close()  # with the 100 unread: its system says so
    time.sleep(0.05)
    with pytest.raises(CallerGone):
        deadline.check()


def test_caller_that_sent_more_before_it_went_is_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    service, caller = ends
    caller.sendall(b"the next request")
    caller.close()
    time.sleep(0.05)
    with pytest.raises(CallerGone):
        RequestDeadline(time.monotonic() + 60, service).check()


def test_connection_that_this_service_has_closed(ends: tuple[socket.socket, socket.socket]) -> None:
    service, _ = ends
    service.close()
    with pytest.raises(CallerGone):
        RequestDeadline(time.monotonic() + 60, service).check()
