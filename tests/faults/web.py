"""What stands on the network that the tests of URLs make up: pictures, redirects and failures by path, and names."""

import gzip
import socket
import ssl
import time
from collections.abc import Mapping
from itertools import chain

import trustme

from tests.conftest import encoded, noise
from tests.faults.forbidden import EVERY, IPV4, IPV6, PUBLIC, carriers
from tests.faults.nameserver import SILENT, Zone
from tests.support.origin import Answer, endlessly, http, moved, reset, slowly, until_hung_up

PNG = encoded(noise(64, 48))
"""The picture that is there."""

OPEN = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(bytes(300_000_000), 1)


def hop_slowly(connection: socket.socket) -> None:
    time.sleep(4)
    connection.sendall(moved("/slow-hops"))


def fall_silent(connection: socket.socket) -> None:
    time.sleep(5)
    connection.sendall(OPEN)
    connection.recv(1)  # returns once the other side has hung up


ANSWERS: Mapping[str, Answer] = {
    "/": http(PNG),
    "/a.png": http(PNG),
    **{
        f"/to/{number}": moved(url.encode().decode("latin-1"))
        for number, url in enumerate(f"http://{e}/" for e in EVERY)
    },
    **{f"/hops/{left}": moved(f"/hops/{left - 1}") for left in range(1, 12)},
    "/hops/0": http(PNG),
    "/loop": moved("/pool"),
    "/pool": moved("/loop"),
    **{f"/scheme/{number}": moved(url) for number, url in enumerate(("file:///etc/passwd", "ftp://museum.example/"))},
    "/404": http(PNG, status="404 Not Found"),
    "/500": http(PNG, status="500 Internal Server Error"),
    "/reset": reset,
    "/not-http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "/endless": endlessly(OPEN, bytes(1_000_000)),
    "/endless-chunks": endlessly(CHUNKED, b"f4240\r\n" + bytes(1_000_000) + b"\r\n"),
    "/endless-chunk": endlessly(CHUNKED + b"-1\r\n", bytes(1_000_000)),
    "/announced": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + PNG,
    "/shorter": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PNG) + 1) + PNG,
    "/longer": http(PNG) + http(b"another answer, which nobody asked for"),
    "/bomb": http(BOMB, "Content-Encoding: gzip"),
    "/bomb-in-bomb": http(gzip.compress(BOMB), "Content-Encoding: gzip, gzip"),
    "/byte-a-second": slowly(OPEN, b"x", 1),
    "/header-a-second": slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 1),
    "/silent": until_hung_up(),
    "/slow-hops": hop_slowly,
    "/falls-silent": fall_silent,
}

ZONE: Zone = {
    **{f"v4-{address}.example": ((str(address),),) for address in IPV4},
    **{f"v6-{number}.example": ((address,),) for number, address in enumerate(IPV6)},
    **{
        f"carried-{number}.example": ((address,),)
        for number, address in enumerate(chain.from_iterable(carriers(address) for address in IPV4))
    },
    **dict.fromkeys(("museum.example", "other.example", "unproven.example"), ((PUBLIC,),)),
    "both.example": ((PUBLIC, "10.0.0.1"),),
    "htob.example": (("10.0.0.1", PUBLIC),),
    "families.example": ((PUBLIC, "::1"),),
    "many.example": ((*(f"93.184.{third}.14" for third in range(100)), "192.168.1.1"),),
    "turning.example": ((PUBLIC,), ("127.0.0.1",)),
    "silent.example": SILENT,
    "iiif.example": (("192.168.7.7",),),
    "metadata.example": (("169.254.169.254",),),
}


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context
