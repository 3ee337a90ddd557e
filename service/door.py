"""The door: while there is no place, who asks for one is refused before a connection is made of it.

Under ten times the load nine callers of ten are refused, and what each of them costs is missing to the tenth.
"""

import socket
from contextlib import suppress

from service.api.cors import CorsPolicy
from service.arrival import Arrival
from service.connection import BLOCK
from service.errors import Overloaded
from service.refusals import COSTLY, refused

_LOOK_BYTES = 4096
"""Where a head is longer, its caller is refused a little later, as a connection."""

_NO_PLACE = Overloaded(retry_after=1)


class Door:
    """Looks at what a new caller asks for.

    max_head, max_body: as of Arrival
    cors: which headers the pages of other origins need
    """

    def __init__(self, max_head: int, max_body: int, cors: CorsPolicy) -> None:
        self._max_head = max_head
        self._max_body = max_body
        self._cors = cors
        self._nowhere = bytearray(BLOCK)

    def refuse(self, caller: socket.socket, address: str | None) -> bool | None:
        """Answer who asks for a place that there is none; for all others return None, with nothing read.

        Return whether the request is here to its end, so that the connection can be closed.
        """
        try:
            seen = caller.recv(_LOOK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:  # nothing has come yet, or the caller has gone
            return None
        arrival = Arrival(self._max_head, self._max_body)
        arrival.add(seen)
        asked = arrival.method_and_path
        # Chunks and bodies that are too large are not waited for, and get another answer.
        if asked not in COSTLY or arrival.head is None or (arrival.can_begin and not arrival.whole):
            return None
        answer = refused(_NO_PLACE, address, asked, arrival.request_id, self._cors.headers(arrival.origin))
        size = BLOCK
        with suppress(OSError):  # it may be gone; so short an answer always fits into an empty buffer
            size = caller.recv_into(self._nowhere, 0, socket.MSG_TRUNC | socket.MSG_DONTWAIT)
            caller.send(answer, socket.MSG_MORE | socket.MSG_DONTWAIT)  # with the end of it, which is sent next
        arrival.skip(size - len(seen))
        return arrival.whole and size < BLOCK
