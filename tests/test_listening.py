"""Closing a listening socket: nobody who is connected is lost."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from service.server.listen_sockets import begin_again, begin_no_more, take_all
from tests.faults.callers import wait_for


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as made:
        made.setblocking(False)
        yield made


def test_no_connection_is_begun_and_those_that_are_made_can_be_taken(listener: socket.socket) -> None:
    before = socket.create_connection(listener.getsockname(), 5)
    begin_no_more(listener)
    with pytest.raises(TimeoutError):
        socket.create_connection(listener.getsockname(), 0.2)
    taken, _ = listener.accept()
    before.sendall(b"here")
    taken.settimeout(5)
    assert taken.recv(4) == b"here"
    with socket.socket() as waiting:
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
        begin_again(listener)
        assert select.select([listener], [], [], 5)[0]  # TCP has asked again
    taken.close()
    before.close()


def test_beginning_again_where_nothing_was_stopped(listener: socket.socket) -> None:
    begin_again(listener)
    socket.create_connection(listener.getsockname(), 5).close()


@pytest.mark.parametrize("last", [True, False])
def test_all_that_wait_are_taken(listener: socket.socket, last: bool) -> None:
    waiting = [socket.create_connection(listener.getsockname(), 5) for _ in range(100)]
    taken = []
    take_all(listener, lambda each: taken.append(each.accept()[0]), last=last)
    assert len(taken) == 100
    for connection in [*waiting, *taken]:
        connection.close()


def _connect_again_and_again(address: tuple[str, int], connected: list[socket.socket]) -> None:
    with suppress(OSError):  # once it is refused, or not answered
        while True:
            connected.append(socket.create_connection(address, 0.2))


@pytest.mark.parametrize("attempt", range(10))
def test_nobody_who_connects_meanwhile_is_reset(listener: socket.socket, attempt: int) -> None:
    connected: list[socket.socket] = []
    callers = [
        threading.Thread(target=_connect_again_and_again, args=(listener.getsockname(), connected)) for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    wait_for(lambda: len(connected) >= 40, 10)
    taken: list[socket.socket] = []
    take_all(listener, lambda each: taken.append(each.accept()[0]), last=True)
    listener.close()
    for caller in callers:
        caller.join()
    assert len(taken) == len(connected)
    for connection in [*connected, *taken]:
        connection.close()
