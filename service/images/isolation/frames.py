"""What the service and a decoding process say to each other: JSON and bytes, each preceded by its length.

Nothing of what comes back is code, because it comes from a process that reads hostile files; and nothing is longer than
the service expects it to be.
"""

import json
import socket
import struct
import time
from typing import Any

_LENGTH = struct.Struct(">Q")
_MAX_FIELDS_BYTES = 65_536


class Frames:
    """One end of a connection. Raises TimeoutError at the deadline, EOFError or OSError when the other end is gone.

    deadline: on time.monotonic()'s clock; None waits for ever
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline: float | None = None

    def send(self, contents: bytes | memoryview) -> None:
        """Send bytes."""
        self._set_timeout()
        self._connection.sendall(_LENGTH.pack(len(contents)))
        self._set_timeout()
        self._connection.sendall(contents)

    def receive(self, most: int | None = None) -> bytearray:
        """Return the next bytes that were sent. Raises EOFError, before it takes memory, if they are more than `most`.

        most: None where the other end is trusted
        """
        length = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        if most is not None and length > most:
            raise EOFError
        return self._exactly(length)

    def send_fields(self, **fields: Any) -> None:
        """Send names with values that JSON has."""
        self.send(json.dumps(fields).encode())

    def receive_fields(self) -> dict[str, Any]:
        """Return what `send_fields` sent. Raises EOFError if it is no such thing, as if the other end had died."""
        try:
            fields = json.loads(self.receive(_MAX_FIELDS_BYTES))
        except (ValueError, RecursionError):
            raise EOFError from None
        if not isinstance(fields, dict):
            raise EOFError
        return fields

    def is_silent(self) -> bool:
        """Say whether there is nothing to be received, which the other end sent unasked or by ending."""
        self._connection.settimeout(0)
        try:
            self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _exactly(self, length: int) -> bytearray:
        received = bytearray(length)
        rest = memoryview(received)
        while rest:
            self._set_timeout()
            count = self._connection.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return received

    def _set_timeout(self) -> None:
        left = None if self.deadline is None else self.deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
