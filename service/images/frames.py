"""What the service and a decoding process say to each other: JSON and bytes, each preceded by its length.

Nothing of what comes back is code, because it comes from a process that reads hostile files.
"""

import json
import socket
import struct
import time
from typing import Any

_LENGTH = struct.Struct(">Q")
_MAX_BYTES = 4 * 1024**3


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

    def receive(self) -> bytearray:
        """Return the next bytes that were sent."""
        length = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        if length > _MAX_BYTES:
            raise EOFError
        return self._exactly(length)

    def send_fields(self, **fields: Any) -> None:
        """Send names with values that JSON has."""
        self.send(json.dumps(fields).encode())

    def receive_fields(self) -> dict[str, Any]:
        """Return what `send_fields` sent."""
        fields: dict[str, Any] = json.loads(self.receive())
        return fields

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
