"""A request's claim to an answer: it ends with its deadline, and with its caller."""

import select
import socket
import time
from dataclasses import dataclass, replace

from service.admission import RETRY_SECONDS
from service.errors import CallerGone, Overloaded

_CLOSED = select.POLLRDHUP | select.POLLHUP | select.POLLERR


@dataclass(frozen=True)
class Claim:
    """What a request may still ask for.

    deadline:   on time.monotonic()'s clock
    connection: the caller's, where there is one
    """

    deadline: float
    connection: socket.socket | None = None

    def extended(self, seconds: float) -> "Claim":
        """Return the same claim with a later deadline."""
        return replace(self, deadline=self.deadline + seconds)

    def require(self) -> None:
        """Raise Overloaded if it is too late to answer, or CallerGone if there is nobody to answer to."""
        if time.monotonic() > self.deadline:
            raise Overloaded("The request was not answered in time and has been dropped.", retry_after=RETRY_SECONDS)
        if self.connection is not None and _closed(self.connection):
            raise CallerGone


def _closed(connection: socket.socket) -> bool:
    poll = select.poll()
    try:
        poll.register(connection, _CLOSED)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True
