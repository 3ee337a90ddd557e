"""A name server on port 53, over UDP and TCP, which answers as a test says: fixed, changing, or never."""

import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from ipaddress import ip_address
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.faults.__main__ import NAMESERVER

Zone = Mapping[str, tuple[tuple[str, ...], ...]]
"""By name: the addresses of the first answer, of the second and so on, the last of them for ever."""

SILENT: tuple[tuple[str, ...], ...] = ()
"""What a name has that is never answered for."""

_UDP_BYTES = 512
_FAMILIES = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}


class Nameserver:
    """Listens while a `with` block lasts; knows how often it was asked, over UDP and TCP."""

    def __init__(self, zone: Zone) -> None:
        self.zone = dict(zone)
        self.asked: Counter[tuple[str, str]] = Counter()
        self.over_tcp = 0
        self._lock = threading.Lock()
        self._listening = ExitStack()

    def __enter__(self) -> Self:
        answer = self._answer

        class Udp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                question, connection = self.request
                if answered := answer(question, _UDP_BYTES):
                    connection.sendto(answered, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                # A resolver asks for both families on one connection.
                while size := self.rfile.read(2):
                    if answered := answer(self.rfile.read(*struct.unpack("!H", size)), None):
                        self.wfile.write(struct.pack("!H", len(answered)) + answered)

        class TcpServer(socketserver.ThreadingTCPServer):
            allow_reuse_address = True

        for server in (
            socketserver.ThreadingUDPServer((NAMESERVER, 53), Udp),
            TcpServer((NAMESERVER, 53), Tcp),
        ):
            self._listening.enter_context(server)
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            self._listening.callback(thread.join)
            self._listening.callback(server.shutdown)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()

    def _answer(self, wire: bytes, most: int | None) -> bytes | None:
        question = dns.message.from_wire(wire)
        [asked] = question.question
        name = asked.name.to_text(omit_final_dot=True).lower()
        family = dns.rdatatype.to_text(asked.rdtype)
        with self._lock:
            turn = self.asked[name, family]
            self.asked[name, family] += 1
            self.over_tcp += most is None
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        answers = self.zone.get(name)
        if answers is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif not answers:
            return None
        else:
            addresses = answers[min(turn, len(answers) - 1)]
            fitting = [address for address in addresses if ip_address(address).version == _FAMILIES.get(asked.rdtype)]
            if fitting:
                answer.answer.append(dns.rrset.from_text(asked.name, 0, "IN", family, *fitting))
        return answer.to_wire(max_size=most or 65535, prefer_truncation=True)
