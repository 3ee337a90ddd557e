"""One request, from its first byte to its last: who asks, until when an answer is of use, and what it took.

It is made before the view is called, is passed to whatever works for the request, and is written down once, at the end.
"""

import re
import select
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from flask import Response, g

from service.api import metrics
from service.errors import CallerGone, Overloaded
from service.limits.admission import RETRY_SECONDS, Admission

log = structlog.get_logger()

GRACE_SECONDS = 2.0
"""What pictures that were read in time may be late by, so that a slow one does not take the others with it."""

STAGES = ("fetch", "decode", "encode", "rank")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_GONE = select.POLLHUP | select.POLLERR
_SENDS_NO_MORE = select.POLLRDHUP
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_AT_ONCE = int(socket.MSG_DONTWAIT) | int(socket.MSG_NOSIGNAL)


@dataclass(frozen=True)
class RequestDeadline:
    """Until when an answer is of use: the request's time is not over, and its client has not gone.

    at:      on time.monotonic()'s clock
    client:  the connection, where there is one
    interim: whether the client takes interim answers, as those of HTTP/1.1 do
    probed:  set once a client that sends no more was sent one, to see whether it is still there
    """

    at: float
    client: socket.socket | None = None
    interim: bool = True
    probed: threading.Event = field(default_factory=threading.Event, compare=False)

    def extended(self, seconds: float) -> "RequestDeadline":
        """Return the same, but so much later."""
        return replace(self, at=self.at + seconds)

    def check(self) -> None:
        """Raise Overloaded if it is too late to answer, or CallerGone if there is nobody to answer to."""
        if time.monotonic() > self.at:
            raise Overloaded("The request was not answered in time and has been dropped.", retry_after=RETRY_SECONDS)
        if self.client is not None and self._is_gone(self.client):
            raise CallerGone

    def _is_gone(self, client: socket.socket) -> bool:
        """Return whether nobody reads the answer.

        Who closes a connection and who only says that the request is over, and waits, look the same (RFC 9293, section
        3.6), until something is sent to them: the one's system refuses it. Every client of HTTP/1.1 passes over a 100
        (RFC 9110, section 15.2).
        """
        try:
            state = _state(client)
            if state == _SENDS_NO_MORE and self.interim and not self.probed.is_set():
                self.probed.set()
                client.send(_CONTINUE, _AT_ONCE)
                state = _state(client)
            return bool(state & _GONE)
        except (OSError, ValueError):
            return True


@dataclass
class RequestContext:
    """What is known of the request at hand, and what is told of it once it is answered.

    started:        on time.monotonic()'s clock
    late_deadline:  for what was read in time
    headers:        what the response is to have besides the usual
    client:         the address that asks
    is_admitted:    whether the server has given it a slot already
    stages:         milliseconds spent on each of STAGES; empty where it came to none of them
    image_outcomes: how many images of each source ended how
    """

    request_id: str
    started: float
    deadline: RequestDeadline
    late_deadline: RequestDeadline
    client: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_admitted: bool = False
    stages: dict[str, float] = field(default_factory=dict)
    image_outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    images: int | None = None
    phrases: int | None = None
    ranked_phrases: int = 0
    code: str | None = None

    @classmethod
    def begin(cls, environ: Mapping[str, Any], client: str | None, seconds: float) -> "RequestContext":
        """Return the context of the request that a WSGI environment describes, and make it the current one.

        seconds: how long the request may take
        """
        sent_id = environ.get("HTTP_X_REQUEST_ID", "")
        started = environ.get("gaze.started") or time.monotonic()
        interim = environ.get("SERVER_PROTOCOL") != "HTTP/1.0"
        deadline = RequestDeadline(started + seconds, environ.get("gaze.socket"), interim)
        context = cls(
            request_id=sent_id if _REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex,
            started=started,
            deadline=deadline,
            late_deadline=deadline.extended(GRACE_SECONDS),
            client=client,
            is_admitted=environ.get("gaze.has_slot", False),
        )
        g.context = context
        return context

    def admitted(self, admission: Admission) -> AbstractContextManager[None]:
        """Hold a slot while the block runs. Raises Overloaded where none is free."""
        return nullcontext() if self.is_admitted else admission.slot()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + (time.perf_counter() - started) * 1000

    def finish(self, response: Response, method: str, route: str) -> None:
        """Give the response its headers, then count and log the request."""
        seconds = time.monotonic() - self.started
        response.headers["X-Request-ID"] = self.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.update(self.headers)
        if self.stages:
            timings = [f"{stage};dur={milliseconds:.1f}" for stage, milliseconds in self.stages.items()]
            response.headers["Server-Timing"] = ", ".join(timings)
        status = response.status_code
        metrics.REQUESTS.labels(route, method, status, self.code or "").inc()
        metrics.REQUEST_SECONDS.labels(route).observe(seconds)
        for stage, milliseconds in self.stages.items():
            if milliseconds:
                metrics.STAGE_SECONDS.labels(stage).observe(milliseconds / 1000)
        for (source, outcome), count in self.image_outcomes.items():
            metrics.IMAGES.labels(source, outcome).inc(count)
        if self.ranked_phrases:
            metrics.PHRASES.inc(self.ranked_phrases)
        log.info(
            "request",
            request_id=self.request_id,
            method=method,
            route=route,
            status=status,
            code=self.code,
            milliseconds=round(seconds * 1000, 1),
            stages={stage: round(ms, 1) for stage, ms in self.stages.items()} or None,
            images=self.images,
            phrases=self.phrases,
            client=self.client,
        )


def current_request() -> RequestContext:
    """Return the context of the request that this thread answers."""
    context: RequestContext = g.context
    return context


def _state(client: socket.socket) -> int:
    poll = select.poll()
    poll.register(client, _GONE | _SENDS_NO_MORE)
    return sum(events for _, events in poll.poll(0))
