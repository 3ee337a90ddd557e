"""Hosts of images at every address, well-behaved and not, and what the kernel saw of attempts to reach them."""

import socket
import ssl
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from tests.faults.__main__ import NAMESERVER
from tests.support.origin import Answer, Hosts, Place

PORTS = (80, 443, 22, 3128, 6379, 8000, 8080)
"""Where somebody listens, at every address of IPv4 and IPv6; 443 speaks TLS."""

_SOL_PACKET, _STATISTICS = 263, 6  # as packet(7) numbers them
_EVERY_PROTOCOL, _IPV4, _IPV6 = 0x0003, 0x0800, 0x86DD
_SYN, _ACK = 0x02, 0x10


class Origins(Hosts):
    """Hosts at all PORTS of all addresses.

    answers: by path; any other path has the answer of "/", a picture by which it is noticed who gets where they must
    not go
    certified: by name of a host, how it proves that name; the one of "" is for all others
    """

    def __init__(self, answers: Mapping[str, Answer], certified: Mapping[str, ssl.SSLContext]) -> None:
        self.answers = defaultdict(lambda: answers["/"], answers)
        self._certified = certified
        self._tls = certified[""]
        self._tls.sni_callback = self._choose
        listening = {
            socket.create_server((everywhere, port), family=family, backlog=128, reuse_port=True): (
                self._tls if port == 443 else None
            )
            for port in PORTS
            for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))
        }
        super().__init__(self.answers, listening)

    def _choose(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._certified.get(name or "", self._tls)


class Attempts:
    """Every connection that anybody tried to open while a `with` block lasts, taken or not, and every datagram sent.

    Seen as packets on the loopback interface, which all addresses belong to: a connection's first one, so that attempts
    at ports that nobody listens on count too. What goes to the service itself and to the name server is left out.
    """

    def __init__(self, service: str) -> None:
        port = int(service.rpartition(":")[2])
        self._expected = {Place("127.0.0.1", port), Place(NAMESERVER, 53)}
        self._seen: list[Place] = []
        self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL))
        self._packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
        self._packets.settimeout(0.05)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._packets.bind(("lo", _EVERY_PROTOCOL))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._packets.close()

    def seen(self) -> set[Place]:
        """Return where anything went so far; fail if the kernel dropped a packet before it was looked at."""
        # A packet of our own tells that all before it were looked at.
        mark = Place("127.0.0.1", 9)
        before = self._seen.count(mark)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marking:
            marking.sendto(b"", mark)
        deadline = time.monotonic() + 10
        while self._seen.count(mark) == before:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        _, dropped = struct.unpack("II", self._packets.getsockopt(_SOL_PACKET, _STATISTICS, 8))
        assert not dropped
        return {place for place in self._seen if place != mark}

    def _watch(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                packet, (_, protocol, kind, *_rest) = self._packets.recvfrom(128)
                place = _opened(packet, protocol)
                if kind == socket.PACKET_OUTGOING and place and place not in self._expected:
                    self._seen.append(place)


def _opened(packet: bytes, protocol: int) -> Place | None:
    """Return where a packet goes that opens something: a connection's first one, or a datagram."""
    if protocol == _IPV4:
        start, transport, address = (packet[0] & 0x0F) * 4, packet[9], packet[16:20]
    elif protocol == _IPV6:
        start, transport, address = 40, packet[6], packet[24:40]
    else:
        return None
    destination = Place(str(ip_address(address)), int.from_bytes(packet[start + 2 : start + 4], "big"))
    if transport == socket.IPPROTO_TCP and packet[start + 13] & (_SYN | _ACK) == _SYN:
        return destination
    # An answer of the name server goes to a port that somebody chose for it.
    if transport == socket.IPPROTO_UDP and int.from_bytes(packet[start : start + 2], "big") != 53:
        return destination
    return None


@contextmanager
def black_hole(address: str, port: int) -> Iterator[None]:
    """Let connections to an address be neither taken nor refused: its queue is full, and stays so."""
    with ExitStack() as held:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        held.enter_context(socket.create_server((address, port), family=family, backlog=0, reuse_port=True))
        for _ in range(3):
            waiting = held.enter_context(socket.socket(family))
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield


@contextmanager
def unanswering(address: str, port: int) -> Iterator[None]:
    """Let connections to an address be taken, and nothing come of them."""
    with socket.create_server((address, port), backlog=128, reuse_port=True):
        yield
