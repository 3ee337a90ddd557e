"""gunicorn's worker: an event loop that receives requests, rejects what it cannot take, gives threads the rest."""

import asyncio
import math
import os
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from email.utils import formatdate
from typing import Any

import structlog
from gunicorn.http import get_parser
from gunicorn.http.wsgi import create
from gunicorn.workers.base import Worker

from service import errors
from service.api.access.callers import counted_as
from service.limits.admission import OTHER_SLOTS, STREAMED_SLOTS, STREAMED_SLOTS_EACH, Admission, PerClientAdmission
from service.limits.threads import TolerantThreadPool, lower_thread_priority
from service.server import rejection
from service.server.connection import BLOCK, Connection, RequestBuffer, State, http_head
from service.server.handover import DRAIN_PENDING, handover
from service.server.process_state import admission, shutting_down
from service.settings import read_settings

log = structlog.get_logger()

HEAD_SECONDS = 8.0  # for a request's head, from its first byte, and for that, from the connection
SEND_SECONDS = 30.0  # for a client to receive an answer
_LINGER_SECONDS = 5.0
_LINGER_BYTES = 256 * 1024**2
_STOPPING_IDLE_SECONDS = 2.0  # in which a stopping worker waits for a request that may be on its way
_TICK_SECONDS = 0.2
_REST_SECONDS = 0.015  # without new connections, where no slot is free: to reject several in a row costs less
_SWITCH_SECONDS = 0.001  # in which one thread runs Python; the usual 5 ms add up where threads have little to do
_MAX_ACCEPTS = 64  # connections in a row, before other events have their turn
_MAX_READS = 8  # from one connection in a row
_MAX_CONNECTIONS = 950
_MAX_HELD = 8  # of the largest requests, half received
_MAX_UNSENT = 64 * 1024**2  # bytes of answers that are not sent yet
_HEAD_BLOCK = 16 * 1024


class GazeWorker(Worker):
    """Runs the event loop where gunicorn's workers run theirs."""

    def run(self) -> None:
        """Serve until this worker is to end, and what it has accepted is answered."""
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(EventLoop(self.sockets, self.wsgi, self.cfg).serve(self.notify))

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ARG002  # gunicorn's signature
        """Take SIGTERM, which the master repeats each second."""
        handover.request_stop()


class EventLoop:
    """Receives requests until they are complete, gives them to threads, and sends the answers.

    listeners: what it accepts connections on
    app:       a WSGI app; finds gaze.socket, gaze.started, gaze.counted and gaze.has_slot in its environment
    cfg:       gunicorn's configuration
    """

    def __init__(self, listeners: list[socket.socket], app: Callable[..., Any], cfg: Any) -> None:
        settings = read_settings()
        self._listeners = {listener: listener.getsockname() for listener in listeners}
        self._app = app
        self._cfg = cfg
        self._request_seconds = settings.request_timeout
        self._max_body = settings.max_request_bytes
        self._max_head = cfg.limit_request_line + cfg.limit_request_field_size + BLOCK
        self._rejector = rejection.Rejector(settings)
        self._streamed = PerClientAdmission(STREAMED_SLOTS, STREAMED_SLOTS_EACH)
        self._others = Admission(OTHER_SLOTS)
        self._connections: set[Connection] = set()
        self._held_bytes = 0
        self._is_listening = self._is_resting = False
        self._yields_until = math.inf

    async def serve(self, notify: Callable[[], None]) -> None:
        """Serve until this worker is to stop or its master is gone, then end what is under way.

        notify: lets the master know that this worker lives
        """
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._loop = asyncio.get_running_loop()
        self._threads = TolerantThreadPool(self._cfg.threads, "request", lower_thread_priority)
        self._probe_threads = TolerantThreadPool(2, "probe")
        for listener in self._listeners:
            listener.setblocking(False)
            with suppress(OSError):  # its connections have it as well
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        master = os.getppid()
        while handover.state != DRAIN_PENDING and os.getppid() == master:
            await self._tick(notify)
        self._stop_listening()
        until = time.monotonic() + self._cfg.graceful_timeout
        while self._connections and time.monotonic() < until:
            await self._tick(notify)
        self._threads.shutdown(wait=False)

    async def _tick(self, notify: Callable[[], None]) -> None:
        notify()
        self._listen()
        now = time.monotonic()
        for conn in [conn for conn in self._connections if conn.deadline <= now]:
            if conn.state == State.RECEIVING and conn.buffer.head:
                self._reject(conn, errors.Overloaded("The request's body came too slowly.", retry_after=1))
            else:
                self._give_up(conn)
        await asyncio.sleep(_TICK_SECONDS)

    def _stop_listening(self) -> None:
        """Accept what the kernel has connected, and let no client wait who would be reset in the end."""
        shutting_down.set()
        handover.request_stop()
        self._listen()
        now = time.monotonic()
        for listener in self._listeners:
            while self._accept_one(listener) and time.monotonic() < now + 1:
                pass
            listener.close()
        half_here = self._cfg.graceful_timeout - 2 * _LINGER_SECONDS
        for conn in self._connections:
            if conn.state in (State.IDLE, State.RECEIVING):
                conn.deadline = min(conn.deadline, now + (half_here if conn.buffer.size else _STOPPING_IDLE_SECONDS))

    # --- a connection is accepted: only where this worker is to, and no other has fewer requests ---

    def _listen(self) -> bool:
        """Begin or stop to accept connections, and return whether they are."""
        has_room = len(self._connections) <= _MAX_CONNECTIONS and not self._is_resting
        wanted = has_room and handover.may_accept and not self._yields()
        if wanted != self._is_listening:
            self._is_listening = wanted
            for listener in self._listeners:
                if wanted:
                    self._loop.add_reader(listener, self._accept, listener)
                else:
                    self._loop.remove_reader(listener)
        return wanted

    def _yields(self) -> bool:
        """Return whether other workers have a moment to take the next client; one that hangs may not."""
        if not admission.has_fair_share(handover.ready):
            self._yields_until = math.inf
            return False
        self._yields_until = min(self._yields_until, time.monotonic() + _TICK_SECONDS)
        return time.monotonic() < self._yields_until

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_MAX_ACCEPTS):
            if not (self._listen() and self._accept_one(listener) and admission.is_full):
                break
        if admission.is_full:
            self._is_resting = True
            self._listen()
            self._loop.call_later(_REST_SECONDS, self._end_rest)

    def _end_rest(self) -> None:
        self._is_resting = False
        self._listen()

    def _accept_one(self, listener: socket.socket) -> bool:
        """Return whether there was a connection to accept."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if not isinstance(error, BlockingIOError | ConnectionAbortedError):
                log.warning("a connection could not be accepted", reason=error.strerror)
            return False
        conn = Connection(sock, address, self._listeners[listener], RequestBuffer(self._max_head, self._max_body))
        conn.deadline = conn.started + HEAD_SECONDS
        self._connections.add(conn)
        if len(self._connections) > _MAX_CONNECTIONS:
            self._give_up(min(self._connections, key=Connection.worth))
        self._guard(self._on_readable, conn)
        self._await_more(conn)
        return True

    # --- its request arrives ---

    def _await_more(self, conn: Connection) -> None:
        if conn.state in (State.IDLE, State.RECEIVING):
            self._loop.add_reader(conn.fd, self._guard, self._on_readable, conn)

    def _on_readable(self, conn: Connection) -> None:
        """Read what has come, a head before its body: who is rejected for the head costs no more than that."""
        for _ in range(_MAX_READS):
            try:
                piece = conn.sock.recv(BLOCK if conn.buffer.head else _HEAD_BLOCK)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if piece:
                self._receive(conn, piece)
            elif conn.buffer.head:
                self._reject(conn, errors.MalformedRequest("The request's body ended before it was whole."))
            else:
                self._close(conn)
            if conn.state != State.RECEIVING:
                return

    def _receive(self, conn: Connection, piece: bytes) -> None:
        buffer = conn.buffer
        if not buffer.size:
            conn.state, conn.started = State.RECEIVING, time.monotonic()
            conn.deadline = conn.started + HEAD_SECONDS
        had_head = bool(buffer.head)
        buffer.add(piece)
        self._held_bytes += len(piece)
        if buffer.head and not had_head and not buffer.is_complete:
            if error := self._rejector.try_reject(conn):
                self._reject(conn, error)
                return
            conn.deadline = conn.started + self._request_seconds
            if buffer.expects_continue and not buffer.is_ready:
                with suppress(OSError):
                    conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if buffer.is_ready:
            self._dispatch(conn)
        while self._held_bytes > _MAX_HELD * self._max_body:
            receiving = (each for each in self._connections if each.state == State.RECEIVING)
            self._reject(max(receiving, key=lambda each: each.buffer.size), rejection.NO_SLOT)

    def _dispatch(self, conn: Connection) -> None:
        """Give the request to a thread, or reject it."""
        buffer, asked = conn.buffer, conn.buffer.method_and_path
        slots: Any = admission if asked in rejection.INFERENCE_ROUTES else self._others
        if not buffer.is_complete:
            slots = self._streamed.of(counted_as(self._rejector.client(conn)))
        if not buffer.head:
            self._reject(conn, errors.RequestTooLarge(rejection.HEAD_TOO_LONG))
        elif buffer.is_complete and asked[1] in rejection.PROBES:
            self._submit(self._probe_threads, conn, None)
        elif slots.try_acquire():
            self._submit(self._threads, conn, slots)
        else:
            self._reject(conn, rejection.NO_SLOT)

    def _reject(self, conn: Connection, error: errors.GazeError) -> None:
        """Answer in the event loop, and close."""
        conn.keep_alive = False
        conn.send_last(self._rejector.answer(conn, error))
        self._stop_receiving(conn)
        self._end(conn)

    def _stop_receiving(self, conn: Connection) -> None:
        self._loop.remove_reader(conn.fd)
        if conn.state == State.RECEIVING:
            self._held_bytes -= conn.buffer.size
        conn.state, conn.deadline = State.ANSWERING, math.inf

    # --- a thread answers it ---

    def _submit(self, threads: Executor, conn: Connection, slots: Any) -> None:
        self._stop_receiving(conn)
        threads.submit(self._answer, conn, slots)

    def _answer(self, conn: Connection, slots: Any) -> None:
        try:
            answer = self._run_app(conn, has_slot=slots is admission)
        except Exception as error:  # noqa: BLE001  # it is logged where it is a defect
            conn.keep_alive = False
            request_id = rejection.new_id()  # what came is not to be trusted, not even to be one
            answer = self._rejector.answer(conn, rejection.error_of(error, request_id), request_id)
        if slots is admission:  # before the answer is sent; the other slots are for the event loop alone
            slots.release()
            slots = None
        self._loop.call_soon_threadsafe(self._guard, self._on_answered, conn, answer, slots)

    def _run_app(self, conn: Connection, *, has_slot: bool) -> bytes:
        """Return the app's answer. Raises what gunicorn's parser raises."""
        request = next(get_parser(self._cfg, conn.request(conn.started + self._request_seconds), conn.address))
        _, environ = create(request, conn.sock, conn.address, conn.server, self._cfg)
        protocol = environ["SERVER_PROTOCOL"]
        if protocol > "HTTP/1.0" and len(conn.buffer.fields("Host")) != 1:
            raise errors.MalformedRequest(rejection.NO_HTTP)
        environ.update({"wsgi.multithread": True, "gaze.socket": conn.sock, "gaze.started": conn.started})
        environ.update({"gaze.counted": conn.counted, "gaze.has_slot": has_slot})
        begun: list[Any] = []
        pieces = self._app(environ, lambda *begin: begun.extend(begin))
        try:
            body = b"".join(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
        conn.keep_alive = conn.buffer.is_complete and not shutting_down.is_set() and not request.should_close()
        headers = {
            "Server": rejection.SERVER,
            "Date": formatdate(usegmt=True),
            "Connection": "keep-alive" if conn.keep_alive else "close",
        }
        return http_head(f"{protocol} {begun[0]}", [*headers.items(), *begun[1]]) + body

    # --- the answer is sent, and the connection kept or closed ---

    def _on_answered(self, conn: Connection, answer: bytes, slots: Any) -> None:
        if slots:
            slots.release()
        self._listen()
        conn.begin_to_send(answer)
        self._on_writable(conn)

    def _on_writable(self, conn: Connection) -> None:
        try:
            is_sent = conn.send()
        except OSError:  # the client is gone
            self._give_up(conn)
            return
        if is_sent:
            if conn.state == State.SENDING:
                self._loop.remove_writer(conn.fd)
            self._end(conn)
        elif conn.state != State.SENDING:
            conn.state, conn.deadline = State.SENDING, time.monotonic() + SEND_SECONDS
            self._loop.add_writer(conn.fd, self._guard, self._on_writable, conn)
            sending = {each for each in self._connections if each.state == State.SENDING}
            while sum(each.size for each in sending) > _MAX_UNSENT:
                slowest = min(sending, key=Connection.worth)
                sending.remove(slowest)
                self._give_up(slowest)

    def _end(self, conn: Connection) -> None:
        """Wait for the next request, or close.

        A client that is still sending gets time to read the answer: it never does where its connection is closed
        meanwhile (RFC 9112, section 9.6).
        """
        if conn.keep_alive:
            early = conn.begin_again(RequestBuffer(self._max_head, self._max_body), self._cfg.keepalive)
            if early:
                self._receive(conn, early)
            self._await_more(conn)
        elif conn.is_drained() or not conn.begin_to_linger(_LINGER_SECONDS):
            self._close(conn)
        else:
            self._loop.add_reader(conn.fd, self._guard, self._on_lingering, conn)

    def _on_lingering(self, conn: Connection) -> None:
        size = 0
        with suppress(OSError):
            size = conn.discard()
        if not size or conn.discarded > _LINGER_BYTES:
            self._close(conn)

    def _give_up(self, conn: Connection) -> None:
        if conn.state == State.SENDING:
            client = self._rejector.client(conn)
            log.info("the client did not take its answer", client=str(client) if client else None)
        if conn.state != State.ANSWERING or conn.unsent:  # else a thread has it
            self._close(conn)

    def _close(self, conn: Connection) -> None:
        if conn.state == State.SENDING:
            self._loop.remove_writer(conn.fd)
        elif conn.state != State.ANSWERING:
            self._stop_receiving(conn)
        self._connections.discard(conn)
        conn.sock.close()

    def _guard(self, step: Callable[..., None], conn: Connection, *args: Any) -> None:
        """Take a step; a defect in it costs one connection, not the event loop with all of them."""
        try:
            step(conn, *args)
        except Exception as error:  # whatever it is
            log.error("defect", client=conn.peer, exc_info=error)
            self._close(conn)
