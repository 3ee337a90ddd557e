"""gunicorn's threaded worker, in which no caller can hold a thread by being slow, and errors have the service's shape.

gunicorn reads each request in a thread, as slowly as it comes, and has no deadline for that. Here the event loop reads,
and a thread is given to a request that is there. What cannot be taken is refused in the loop.
"""

import errno
import math
import selectors
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from gunicorn.workers.gthread import TConn

from service import errors
from service.limits.admission import OTHER_SLOTS, STREAMED_SLOTS, STREAMED_SLOTS_EACH, Admission, PerClientAdmission
from service.limits.threads import TolerantThreadPool, lower_thread_priority
from service.server.connection import BLOCK, Connection
from service.server.handover import crew
from service.server.listen_sockets import begin_again, take_all
from service.server.load_shedding import Door
from service.server.process_state import admission, shutting_down
from service.server.rejection import COSTLY, HEAD_TOO_LONG
from service.server.request_buffer import Arrival
from service.server.request_threads import PROBES, AnsweringWorker
from service.settings import read_settings

log = structlog.get_logger()

HEAD_SECONDS = 8.0
"""How long a request's head may take, from its first byte, and a new connection until that byte."""

_LOOK_SECONDS = 0.2
_BEAT_SECONDS = 1.0
_REST_SECONDS = 0.015
"""How long the loop rests after a refusal: to refuse callers in a row costs less than one by one."""

_MAX_AT_ONCE = 16
"""How many of them are taken before others have their turn, and then without a rest; fewer than are kept free."""

_SWITCH_SECONDS = 0.001
"""How long a thread that runs Python keeps others from it. Python's 5 ms add up in threads that have little to do."""

_HEAD_BLOCK = 16 * 1024
_MAX_PIECES = 8
"""How often one connection is read from before the others have their turn."""

_LINGER_SECONDS = 5.0
_SPARE_CONNECTIONS = 50
"""Of those that gunicorn takes, how many are kept free, for those that supervise the service."""

_MAX_HELD = 8
"""How many of the largest requests may be half here at a time."""

_LINGER_BYTES = 256 * 1024**2
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class GazeWorker(AnsweringWorker):
    """Reads requests in the event loop, refuses there what it cannot take, and lets the app know when it is to stop."""

    listeners_end_with_it = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = read_settings()
        self._request_seconds = settings.request_timeout
        self._max_body = settings.max_request_bytes
        self._max_held = _MAX_HELD * self._max_body
        self._max_head = self.cfg.limit_request_line + self.cfg.limit_request_field_size + BLOCK
        self._waiting: set[Connection] = set()
        self._held_bytes = 0
        self._streamed = PerClientAdmission(STREAMED_SLOTS, STREAMED_SLOTS_EACH)
        self._others = Admission(OTHER_SLOTS)
        self._next_look = 0.0
        self._next_beat = 0.0
        self._accepting = False
        self._leaves_until = math.inf
        self._refusing = False
        self._more_wait = False
        self._nowhere = bytearray(BLOCK)
        self._door = Door(self._max_head, self._max_body, self._cors, self._access)

    def init_process(self) -> None:
        """Start, with threads of their own for those that supervise the service."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._probes = TolerantThreadPool(2, "probe")
        self._addresses = {listener: listener.getsockname() for listener in self.sockets}
        for listener in self.sockets:
            begin_again(listener)
            with suppress(OSError):  # its connections have it as well
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().init_process()

    def get_thread_pool(self) -> TolerantThreadPool:
        """Return the threads that requests are given to."""
        return TolerantThreadPool(self.cfg.threads, "request", lower_thread_priority)

    def notify(self) -> None:
        """Let gunicorn's master know that this worker lives; it touches a file, so not at each turn of the loop."""
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + _BEAT_SECONDS
            super().notify()

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ARG002  # gunicorn's signature
        """Take SIGTERM, which gunicorn repeats each second: take no new callers, and end."""
        crew.leave()
        self.method_queue.defer(lambda: None)

    def set_accept_enabled(self, enabled: bool | None) -> None:
        """Take new callers only while the crew wants this worker to, and leave others to who has fewer requests."""
        super().set_accept_enabled(bool(enabled) and crew.may_accept and not self._leaves_callers())

    def _leaves_callers(self) -> bool:
        """Return whether other workers have a moment to take who comes next; one that hangs may not."""
        if not admission.has_fair_share(crew.ready):
            self._leaves_until = math.inf
            return False
        self._leaves_until = min(self._leaves_until, time.monotonic() + _LOOK_SECONDS)
        return time.monotonic() < self._leaves_until

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        """Let events happen, then see whether it is time to end."""
        if self._refusing and not self._more_wait and admission.is_full and self.alive:
            time.sleep(_REST_SECONDS)
        self._refusing = self._more_wait = False
        self.set_accept_enabled(self._accepting)
        settled = (crew.settled and self._leaves_until == math.inf) or not self.alive
        super().wait_for_and_dispatch_events(timeout if settled else _LOOK_SECONDS)
        # Here, and in no callback: the loop may hold another event of a connection that is closed.
        self._make_room()
        if self.alive and crew.leaves:
            shutting_down.set()  # first: whose connection is closed for that is not told that this is ready
            self.alive = False

    # --- the event loop: a connection comes, its request arrives, a thread takes it, or it is refused ---

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection, and while there is no place the others that came while the loop rested."""
        self._more_wait = self._accept_some(listener) or self._more_wait
        try:
            self._door.record()
        except Exception as error:  # whatever it is
            log.error("defect", exc_info=error)

    def _accept_some(self, listener: socket.socket) -> bool:
        """Return whether more may wait than are taken at once."""
        for _ in range(_MAX_AT_ONCE):
            if self._leaves_callers():  # places may have become free since the turn of the loop began
                return False
            try:
                client, address = listener.accept()
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                    log.warning("a connection could not be accepted", reason=error.strerror)
                return False
            at_end = self._refused_at_door(client, address[0] if address else None) if admission.is_full else None
            if at_end:
                client.close()
                continue
            conn = Connection(self.cfg, client, address, self._addresses[listener], self._linger)
            self._begin_arrival(conn)
            if at_end is None:
                self.nr_conns += 1
                self._let_arrive(conn)
            else:
                self._linger(conn)
            if not admission.is_full:
                return False
        return True

    def _refused_at_door(self, client: socket.socket, address: str | None) -> bool | None:
        """As Door.refuse(); a defect in that costs one connection, and not the loop with all of them."""
        try:
            at_end = self._door.refuse(client, address)
        except Exception as error:  # whatever it is
            log.error("defect", client=address, exc_info=error)
            return True
        self._refusing = self._refusing or at_end is not None
        return at_end

    def enqueue_req(self, conn: Any) -> None:
        """Let the next request arrive; where gunicorn would give a thread to the connection."""
        self._begin_arrival(conn)
        self._let_arrive(conn)

    def _begin_arrival(self, conn: Connection) -> None:
        conn.arrival = Arrival(self._max_head, self._max_body)
        conn.started = time.monotonic()
        conn.deadline = conn.started + HEAD_SECONDS
        conn.counted = False
        conn.never_wait()

    def _let_arrive(self, conn: Connection) -> None:
        self._waiting.add(conn)
        early = conn.received.take_all()
        self._safely(partial(self._take, piece=early) if early else self._on_readable, conn)
        if conn in self._waiting and not conn.discarded:
            self._watch(conn, self._on_readable)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keep or close the connection of a request that was answered."""
        early = conn.received.take_all()
        conn.received.unread(early)  # where gunicorn looks for the next request's first bytes
        super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """End what has been arriving for too long."""
        now = time.monotonic()
        if now < self._next_look:  # this is called after each event
            return
        self._next_look = now + _LOOK_SECONDS
        self._expire_answers(now)
        for conn in [conn for conn in self._waiting if conn.deadline <= now]:
            if conn.arrival.head is None or conn.discarded:
                self._close(conn)
            else:
                self._refuse(conn, errors.Overloaded("The request's body came too slowly.", retry_after=1))

    def _cap_keepalive(self, deadline: float) -> None:
        """Stop: take the connections that wait to be accepted, and let nobody wait who would be reset in the end."""
        super()._cap_keepalive(deadline)  # type: ignore[misc]  # the stubs do not know it
        crew.leave()
        shutting_down.set()
        for listener in self.sockets:
            take_all(listener, self.accept, last=self.listeners_end_with_it and crew.is_last)
            listener.close()
        half_here = time.monotonic() + self.cfg.graceful_timeout - 2 * _LINGER_SECONDS
        for conn in self._waiting:
            if not conn.discarded:
                conn.deadline = min(conn.deadline, half_here if conn.arrival.size else deadline)

    def _make_room(self) -> None:
        """Part with the connections that matter least where they are too many, or hold too much."""
        while self.nr_conns > self.worker_connections - _SPARE_CONNECTIONS:
            if self.keepalived_conns:
                idle = self.keepalived_conns.popleft()
                self.poller.unregister(idle.sock)
                self.nr_conns -= 1
                idle.close()
            elif self._waiting:
                self._close(min(self._waiting, key=lambda conn: (not conn.discarded, conn.arrival.size, conn.started)))
            elif self._sending:
                self._give_up(self._slowest())
            else:
                break
        while self._held_bytes > self._max_held:
            largest = max((conn for conn in self._waiting if not conn.discarded), key=lambda conn: conn.arrival.size)
            self._refuse(largest, errors.Overloaded(retry_after=1))

    def _on_readable(self, conn: Connection) -> None:
        """Read what has come, a head before its body: those who are refused for their head cost no more than that."""
        for _turn in range(_MAX_PIECES):
            try:
                piece = conn.sock.recv(_HEAD_BLOCK if conn.arrival.head is None else BLOCK)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._close(conn)
                return
            if piece:
                self._take(conn, piece)
            elif conn.arrival.head is None:
                self._close(conn)
            else:
                self._refuse(conn, errors.MalformedRequest("The request's body ended before it was whole."))
            if conn not in self._waiting or conn.discarded or self._held_bytes > self._max_held:
                return

    def _take(self, conn: Connection, piece: bytes) -> None:
        arrival = conn.arrival
        if not arrival.size:
            conn.started = time.monotonic()
            conn.deadline = conn.started + HEAD_SECONDS
        had_head = arrival.head is not None
        arrival.add(piece)
        self._held_bytes += len(piece)
        if arrival.head is not None and not had_head and not arrival.whole:
            refusal = self._refusal_by_head(conn)
            if refusal is not None:
                self._refuse(conn, refusal)
                return
        if arrival.can_begin:
            self._begin(conn)
        elif arrival.head is not None and not had_head:
            self._wait_for_body(conn)

    def _wait_for_body(self, conn: Connection) -> None:
        conn.deadline = conn.started + self._request_seconds
        if conn.arrival.expects_continue:
            with suppress(OSError):
                conn.sock.send(_CONTINUE)

    def _begin(self, conn: Connection) -> None:
        """Give the request to a thread, or refuse it."""
        arrival = conn.arrival
        asked = arrival.method_and_path
        others = admission if asked in COSTLY else self._others
        places = others if arrival.whole else self._streamed.of(self._caller_of(conn))
        if arrival.head is None:
            self._refuse(conn, errors.RequestTooLarge(HEAD_TOO_LONG))
        elif arrival.whole and asked[1] in PROBES:
            self._submit(conn, self._probes, lambda: None)
        elif not places.try_acquire():
            self._refuse(conn, errors.Overloaded(retry_after=1))
        else:
            own = places is admission  # the thread gives it back, before the answer is sent
            self._submit(conn, self.tpool, (lambda: None) if own else places.release, has_place=own)

    def _refuse(self, conn: Connection, error: errors.GazeError) -> None:
        """Answer in the event loop, and close."""
        arrival = conn.arrival
        answer = self._refused(conn, error)
        self._forget(conn)
        size = BLOCK
        with suppress(OSError):
            if not arrival.whole:  # what has come is thrown away, which is often all that there is
                size = conn.sock.recv_into(self._nowhere, 0, socket.MSG_TRUNC)
                arrival.skip(size)
        with suppress(OSError):  # it may be gone; so short an answer always fits into an empty buffer
            conn.sock.send(answer, socket.MSG_MORE)  # with the end of it, which is sent next
        self.nr_conns -= 1
        conn.close(graceful=size == BLOCK or not arrival.whole)

    def _submit(
        self, conn: Connection, threads: Executor, finished: Callable[[], None], has_place: bool = False
    ) -> None:
        self._forget(conn)
        conn.received.begin(conn.arrival.release(), conn.started + self._request_seconds)
        future = threads.submit(self._handle, conn, has_place)

        def done(future: Any) -> None:
            finished()
            self.finish_request(conn, future)

        future.add_done_callback(lambda future: self.method_queue.defer(done, future))

    def _watch(self, conn: Connection, on_readable: Callable[[Connection], None]) -> None:
        conn.watched = True
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._safely, on_readable, conn))

    def _safely(self, on_readable: Callable[[Connection], None], conn: Connection, _: Any = None) -> None:
        """Look at what has come; a defect in that costs one connection, and not the loop with all of them."""
        try:
            on_readable(conn)
        except Exception as error:  # whatever it is
            log.error("defect", client=conn.address, exc_info=error)
            if conn in self._waiting:
                self._close(conn)

    def _forget(self, conn: Connection) -> None:
        self._waiting.discard(conn)
        self._held_bytes -= conn.arrival.size if not conn.discarded else 0
        if conn.watched:
            conn.watched = False
            with suppress(KeyError, ValueError, OSError):
                self.poller.unregister(conn.sock)

    def _close(self, conn: Connection) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def _linger(self, conn: Connection) -> None:
        """Say that nothing more is sent, and read and forget what still comes.

        Whose connection is closed while it is still sending never reads the answer (RFC 9112, section 9.6).
        """
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.never_wait()
        except OSError:
            TConn.close(conn)
            return
        self.nr_conns += 1
        conn.arrival.release()
        conn.received.take_all()
        conn.discarded = 1
        conn.deadline = time.monotonic() + _LINGER_SECONDS
        self._waiting.add(conn)
        self._watch(conn, self._on_leaving)

    def _on_leaving(self, conn: Connection) -> None:
        for _turn in range(_MAX_PIECES):
            try:
                size = conn.sock.recv_into(self._nowhere, 0, socket.MSG_TRUNC)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                size = 0
            conn.discarded += size
            if not size or conn.discarded > _LINGER_BYTES:
                self._close(conn)
                return
