"""Listening sockets that close without losing a caller whom the kernel has already connected.

What waits to be accepted when the last process closes a listening socket is reset, and another may come between the
last look and the close. So the kernel is first told to begin no new connection: whoever wants one asks again after a
second, as TCP does, and is refused by then.
"""

import ctypes
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # Linux's asm-generic/socket.h; Python does not name them
_HANDSHAKE_SECONDS = 0.05
"""How long the last connections that were begun may take to be made, which is a round trip."""

_DRAIN_SECONDS = 1.0
# A classic BPF program, as socket(7) takes it. A TCP socket's sees a segment from its header on; byte 13 are the flags.
_PROGRAM = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the flags
        (0x54, 0, 0, 0x12),  # of them SYN and ACK
        (0x15, 0, 1, 0x02),  # where it is SYN alone, which begins a connection,
        (0x06, 0, 0, 0),  # drop the segment,
        (0x06, 0, 0, 0xFFFFFFFF),  # else take all of it
    )
)


def begin_no_more(listener: socket.socket) -> None:
    """Let the kernel begin no new connection on this socket, in whatever process it is held."""
    program = ctypes.create_string_buffer(_PROGRAM, len(_PROGRAM))
    with suppress(OSError):  # not on every kernel: then what comes in the last microseconds is lost
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(_PROGRAM) // 8, ctypes.addressof(program))
        )


def begin_again(listener: socket.socket) -> None:
    """Undo begin_no_more(), for a process that was started after another was told to end."""
    with suppress(OSError):  # there was none
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def take_all(listener: socket.socket, accept: Callable[[socket.socket], None], *, last: bool) -> None:
    """Accept every connection that the kernel has made for this socket.

    last: whether no other process accepts on it, so that what is not taken here is lost.
    """
    if last:
        begin_no_more(listener)
    until = time.monotonic() + _DRAIN_SECONDS
    while select.select([listener], [], [], _HANDSHAKE_SECONDS if last else 0)[0] and time.monotonic() < until:
        accept(listener)
