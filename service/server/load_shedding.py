"""The door: while there is no place, who asks for one is refused before a connection is made of it.

Under ten times the load nine callers of ten are refused, and what each of them costs is missing to the tenth.
"""

import socket

from service.api.access.browsers import CorsPolicy
from service.api.access.callers import Access
from service.errors import Overloaded
from service.server.connection import BLOCK
from service.server.rejection import COSTLY, Refusal, new_id, refusal_for
from service.server.request_buffer import Arrival

_LOOK_BYTES = 4096
"""Where a head is longer, its caller is refused a little later, as a connection."""

_NO_PLACE = Overloaded(retry_after=1)

# Of numbers, once: enum's members are combined by Python code, each time.
_LOOK = int(socket.MSG_PEEK) | int(socket.MSG_DONTWAIT)
_THROW_AWAY = int(socket.MSG_TRUNC) | int(socket.MSG_DONTWAIT)
_WITH_END = int(socket.MSG_MORE) | int(socket.MSG_DONTWAIT)
"""The end of the answer is sent next, and with it."""


class Door:
    """Looks at what a new caller asks for.

    max_head, max_body: as of Arrival
    cors: which headers the pages of other origins need
    access: which proxies say who the caller is
    """

    def __init__(self, max_head: int, max_body: int, cors: CorsPolicy, access: Access) -> None:
        self._max_head = max_head
        self._max_body = max_body
        self._cors = cors
        self._access = access
        self._nowhere = bytearray(BLOCK)
        self._refused: dict[Refusal, list[tuple[str, str | None]]] = {}

    def refuse(self, caller: socket.socket, address: str | None) -> bool | None:
        """Answer who asks for a place that there is none; for all others return None, with nothing read.

        Return whether the request is here to its end, so that the connection can be closed.
        """
        try:
            seen = caller.recv(_LOOK_BYTES, _LOOK)
        except OSError:  # nothing has come yet, or the caller has gone
            return None
        arrival = Arrival(self._max_head, self._max_body)
        arrival.add(seen)
        asked = arrival.method_and_path
        # Chunks and bodies that are too large are not waited for, and get another answer.
        if asked not in COSTLY or arrival.head is None or (arrival.can_begin and not arrival.whole):
            return None
        refusal = refusal_for(_NO_PLACE, asked)
        request_id = arrival.request_id or new_id()
        client = self._access.client(address, arrival.forwarded_for)
        self._refused.setdefault(refusal, []).append((request_id, str(client) if client else None))
        answer = refusal.answer(request_id, self._cors.headers(arrival.origin))
        size = BLOCK
        try:
            size = caller.recv_into(self._nowhere, 0, _THROW_AWAY)
            caller.send(answer, _WITH_END)  # so short an answer always fits into an empty buffer
        except OSError:  # the caller may be gone
            pass
        arrival.skip(size - len(seen))
        return arrival.whole and size < BLOCK

    def record(self) -> None:
        """Count and log who was refused since this was done last: for several at once that costs little more."""
        refused, self._refused = self._refused, {}
        for refusal, requests in refused.items():
            refusal.record(requests)
