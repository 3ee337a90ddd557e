"""gunicorn's worker: an event loop that receives requests, rejects what it cannot take, gives threads the rest."""

import asyncio
import math
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from typing import Any

import structlog
from gunicorn.http import get_parser
from gunicorn.http.wsgi import create
from gunicorn.workers.base import Worker

from service import errors
from service.api.access.callers import counted_as
from service.limits.threads import TolerantThreadPool, lower_thread_priority
from service.server import rejection
from service.server.connection import BLOCK, NOWHERE, Connection, RequestBuffer, State, http_head
from service.server.handover import DRAIN_PENDING, handover
from service.server.process_state import admission, other_slots, shutting_down, streamed_slots
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
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._held_bytes = self._unsent_bytes = 0
        self._is_listening = self._is_resting = False
        self._yields_until = math.inf

    async def serve(self, notify: Callable[[], None]) -> None:
        """Serve until this worker is to stop or its master is gone, then end what is under way.

        notify: lets the master know that this worker lives
        """
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _, found: log.error("defect", exc_info=found.get("exception")))
        self._threads = TolerantThreadPool(self._cfg.threads, "request", lower_thread_priority)
        self._probe_threads = TolerantThreadPool(2, "probe")
        for listener in self._listeners:
            listener.setblocking(False)
            with suppress(OSError):  # its connections have it as well
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        master = os.getppid()
        while handover.state != DRAIN_PENDING and os.getppid() == master:
            notify()
            self._listen()
            await asyncio.sleep(_TICK_SECONDS)
        await self._stop_listening()
        until = time.monotonic() + self._cfg.graceful_timeout
        while self._connections and time.monotonic() < until:
            notify()
            await asyncio.sleep(_TICK_SECONDS)
        self._threads.shutdown(wait=False)

    async def _stop_listening(self) -> None:
        """Accept what the kernel has connected, and let no client wait who would be reset in the end."""
        shutting_down.set()
        handover.request_stop()
        self._listen()
        until = time.monotonic() + 1
        for listener in self._listeners:
            while self._accept_one(listener) and time.monotonic() < until:
                pass
            listener.close()
        await asyncio.sleep(0)  # each connection has a timer now
        for conn in self._connections:
            if conn.timer and conn.state in (State.IDLE, State.RECEIVING):
                half_here = self._cfg.graceful_timeout - 2 * _LINGER_SECONDS
                left = (conn.timer.when() or 0.0) - time.monotonic()
                conn.expire(min(left, half_here if conn.buffer.size else _STOPPING_IDLE_SECONDS))

    # --- connections are accepted only where this worker is to, and no other has fewer requests ---

    def _listen(self) -> bool:
        """Begin or stop to accept connections, and return whether they are."""
        has_room = len(self._connections) <= _MAX_CONNECTIONS + _MAX_ACCEPTS and not self._is_resting
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
        is_rejected = admission.is_full and self._try_reject(conn)
        if is_rejected and conn.is_drained():
            sock.close()
            return True
        self._connections[conn] = self._loop.create_task(self._serve_connection(conn, is_rejected))
        if len(self._connections) > _MAX_CONNECTIONS:
            min(self._connections, key=Connection.worth).evict()
        return True

    def _try_reject(self, conn: Connection) -> bool:
        """Reject a client that needs a slot, before it costs a task: under ten times the load there are hundreds."""
        with suppress(OSError):  # nothing has come yet, or the client is gone
            conn.early = conn.sock.recv(_HEAD_BLOCK)
        buffer = RequestBuffer(self._max_head, self._max_body)
        buffer.add(conn.early)
        needs_slot = buffer.method_and_path in rejection.INFERENCE_ROUTES
        if not needs_slot or not buffer.head or (buffer.is_ready and not buffer.is_complete):
            return False
        conn.buffer, conn.early = buffer, b""
        conn.send_last(self._rejector.answer(conn, errors.Overloaded(retry_after=1)))
        return True

    # --- one connection, from its beginning to its end ---

    async def _serve_connection(self, conn: Connection, is_rejected: bool) -> None:
        try:
            if not is_rejected and (error := await self._serve_requests(conn)):
                conn.send_last(self._rejector.answer(conn, error))
            if not conn.is_drained():
                await self._linger(conn)
        except OSError:  # the client is gone, or too slow
            pass
        except Exception as error:  # whatever it is: it costs one connection
            log.error("defect", client=conn.peer, exc_info=error)
        finally:
            del self._connections[conn]
            conn.sock.close()

    async def _serve_requests(self, conn: Connection) -> errors.GazeError | None:
        """Answer requests until the last, or return why one is rejected. Raises OSError where there is no answer."""
        try:
            async with asyncio.timeout(HEAD_SECONDS) as conn.timer:
                while True:
                    await self._receive(conn)
                    await self._send(conn, await self._answer(conn))
                    if not conn.keep_alive:
                        return None
                    conn.buffer, conn.counted = RequestBuffer(self._max_head, self._max_body), False
                    conn.state, conn.started = State.IDLE, time.monotonic()
                    conn.expire(self._cfg.keepalive)
        except errors.GazeError as error:
            return error
        except TimeoutError:
            if conn.state == State.RECEIVING and conn.buffer.head:
                why = None if conn.is_evicted else "The request's body came too slowly."
                return errors.Overloaded(why, retry_after=1)
            if conn.state == State.SENDING:
                client = self._rejector.client(conn)
                log.info("the client did not take its answer", client=str(client) if client else None)
            raise

    async def _receive(self, conn: Connection) -> None:
        """Read a request until it is complete, or a thread is to read on. Raises GazeError where it is rejected."""
        buffer = conn.buffer
        try:
            while not buffer.is_ready:
                size = BLOCK if buffer.head else _HEAD_BLOCK  # who is rejected for the head costs no more than that
                piece, conn.early = conn.early or await self._loop.sock_recv(conn.sock, size), b""
                if not piece:
                    cut_short = errors.MalformedRequest("The request's body ended before it was whole.")
                    raise cut_short if buffer.head else ConnectionAbortedError
                if not buffer.size:
                    conn.state, conn.started = State.RECEIVING, time.monotonic()
                    conn.expire(HEAD_SECONDS)
                had_head = bool(buffer.head)
                buffer.add(piece)
                self._hold(len(piece))
                if buffer.head and not had_head and not buffer.is_complete:
                    self._begin_body(conn)
                elif buffer.head:
                    await asyncio.sleep(0)  # others have their turn
        finally:
            self._held_bytes -= buffer.size

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        if self._held_bytes > _MAX_HELD * self._max_body:
            receiving = [each for each in self._connections if each.state == State.RECEIVING and not each.is_evicted]
            if receiving:
                max(receiving, key=lambda each: each.buffer.size).evict()

    def _begin_body(self, conn: Connection) -> None:
        """Reject a request by its head, or wait for its body."""
        if error := self._rejector.try_reject(conn):
            raise error
        conn.expire(conn.started + self._request_seconds - time.monotonic())
        if conn.buffer.expects_continue and not conn.buffer.is_ready:
            with suppress(OSError):
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _answer(self, conn: Connection) -> bytes:
        """Return a thread's answer. Raises GazeError where there is no slot."""
        buffer, asked = conn.buffer, conn.buffer.method_and_path
        is_probe = buffer.is_complete and asked[1] in rejection.PROBES
        has_slot = buffer.is_complete and asked in rejection.INFERENCE_ROUTES
        if not buffer.head:
            raise errors.RequestTooLarge(rejection.HEAD_TOO_LONG)
        slots: Any = admission if has_slot else other_slots
        if not buffer.is_complete:
            slots = streamed_slots.of(counted_as(self._rejector.client(conn)))
        if not (is_probe or slots.try_acquire()):
            raise errors.Overloaded(retry_after=1)
        conn.state = State.ANSWERING
        conn.expire(math.inf)
        threads = self._probe_threads if is_probe else self._threads
        try:
            answer = await self._loop.run_in_executor(threads, self._run, conn, has_slot)
        finally:
            if not (is_probe or has_slot):
                slots.release()
            self._listen()
        conn.sock.setblocking(False)  # which the thread may have changed
        return answer

    async def _send(self, conn: Connection, answer: bytes) -> None:
        conn.state, conn.size, conn.moved = State.SENDING, len(answer), time.monotonic()
        conn.expire(SEND_SECONDS)
        self._unsent_bytes += conn.size
        try:
            if self._unsent_bytes > _MAX_UNSENT:
                min((each for each in self._connections if each.state == State.SENDING), key=Connection.worth).evict()
            for start in range(0, len(answer), BLOCK):
                await self._loop.sock_sendall(conn.sock, memoryview(answer)[start : start + BLOCK])
                conn.moved = time.monotonic()
        finally:
            self._unsent_bytes -= conn.size

    async def _linger(self, conn: Connection) -> None:
        """Let a client that is still sending read the answer.

        It never does where its connection is closed meanwhile (RFC 9112, section 9.6).
        """
        conn.sock.shutdown(socket.SHUT_WR)
        conn.buffer.take()
        conn.state, left = State.LINGERING, _LINGER_BYTES
        async with asyncio.timeout(_LINGER_SECONDS) as conn.timer:
            while left > 0 and (size := await self._loop.sock_recv_into(conn.sock, NOWHERE)):
                left -= size
                await asyncio.sleep(0)

    # --- in a thread ---

    def _run(self, conn: Connection, has_slot: bool) -> bytes:
        try:
            return self._run_app(conn, has_slot=has_slot)
        except Exception as error:  # noqa: BLE001  # it is logged where it is a defect
            conn.keep_alive = False
            request_id = rejection.new_id()  # what came is not to be trusted, not even to be one
            return self._rejector.answer(conn, rejection.error_of(error, request_id), request_id)
        finally:
            if has_slot:  # before the answer is sent
                admission.release()

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
        of_app = [(name, value) for name, value in begun[1] if name not in headers]  # Flask dates files itself
        return http_head(f"{protocol} {begun[0]}", [*headers.items(), *of_app]) + body
