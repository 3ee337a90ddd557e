"""A request's claim to an answer: it ends with its deadline, and with its caller."""

import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from service.errors import CallerGone, Overloaded
from service.limits.admission import RETRY_SECONDS

_GONE = select.POLLHUP | select.POLLERR
_SENDS_NO_MORE = select.POLLRDHUP
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_AT_ONCE = int(socket.MSG_DONTWAIT) | int(socket.MSG_NOSIGNAL)


@dataclass(frozen=True)
class Claim:
    """What a request may still ask for.

    deadline:   on time.monotonic()'s clock
    connection: the caller's, where there is one
    interim:    whether the caller takes interim answers, as those of HTTP/1.1 do
    asked:      set once the caller, who sends no more, was sent one to see whether it is still there
    """

    deadline: float
    connection: socket.socket | None = None
    interim: bool = True
    asked: threading.Event = field(default_factory=threading.Event, compare=False)

    @classmethod
    def of(cls, environ: Mapping[str, Any], deadline: float) -> "Claim":
        """Return the claim of the request that a WSGI environment describes."""
        return cls(deadline, environ.get("gunicorn.socket"), environ.get("SERVER_PROTOCOL") != "HTTP/1.0")

    def extended(self, seconds: float) -> "Claim":
        """Return the same claim with a later deadline."""
        return replace(self, deadline=self.deadline + seconds)

    def require(self) -> None:
        """Raise Overloaded if it is too late to answer, or CallerGone if there is nobody to answer to."""
        if time.monotonic() > self.deadline:
            raise Overloaded("The request was not answered in time and has been dropped.", retry_after=RETRY_SECONDS)
        if self.connection is not None and self._is_gone(self.connection):
            raise CallerGone

    def _is_gone(self, connection: socket.socket) -> bool:
        """Return whether nobody reads the answer.

        Who closes a connection and who only says that the request is over, and waits, look the same (RFC 9293, section
        3.6), until something is sent to them: the one's system refuses it. Every caller of HTTP/1.1 passes over a 100
        (RFC 9110, section 15.2).
        """
        try:
            state = _state(connection)
            if state == _SENDS_NO_MORE and self.interim and not self.asked.is_set():
                self.asked.set()
                connection.send(_CONTINUE, _AT_ONCE)
                state = _state(connection)
            return bool(state & _GONE)
        except (OSError, ValueError):
            return True


def _state(connection: socket.socket) -> int:
    poll = select.poll()
    poll.register(connection, _GONE | _SENDS_NO_MORE)
    return sum(events for _, events in poll.poll(0))
