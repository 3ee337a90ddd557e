"""Who may ask, and how often: what a request's head is enough to decide, by address, key and quota."""

import hmac
import math
import re
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from service.documents.annotation_page import CONTEXT_PATH
from service.errors import RateLimited, Unauthorized

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_HOP = re.compile(r"([0-9.]+)(?::[0-9]{1,5})?|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")
"""An address of X-Forwarded-For, to which some proxies add a port; a zone, which could be any text, is none."""


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the addresses and networks of a comma-separated list. Raises ValueError."""
    return tuple(_network(part.strip()) for part in text.split(",") if part.strip())


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> Address | None:
    """Return the address that a request comes from, or None where the peer has none, as on a Unix socket.

    forwarded_for: X-Forwarded-For, to which each proxy adds on the right whom it was asked by. It is read from there,
    one address further for as long as the last is a trusted proxy's; what is no address ends it.
    """
    client = _address(peer)
    hops = forwarded_for.split(",")
    while hops and client and any(client in network for network in trusted):
        further = _of_hop(hops.pop())
        if further is None:
            break
        client = further
    return client


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError("it must name addresses and networks, such as 10.0.0.7 or 10.1.0.0/16") from None


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # On a socket for both versions, IPv4's addresses look so.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _of_hop(hop: str) -> Address | None:
    found = _HOP.fullmatch(hop.strip())
    return _address(found[found.lastindex or 0]) if found else None


OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/docs", "/openapi.json", CONTEXT_PATH})
"""What needs no key: the page and the documentation hold no secret, and a browser sends no key with a navigation."""

OPEN_FOLDER = "/static/"


class Keys:
    """The keys of which callers must send one; none, and everybody may ask. Only their digests are kept here."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = tuple(sha256(key.encode()).digest() for key in keys)

    def digest_of(self, authorization: str) -> bytes | None:
        """Return the digest of the known key in this header `Authorization`, or None.

        Each key is compared, in constant time, and digests are of one length: the time taken tells nothing.
        """
        scheme, _, sent = authorization.partition(" ")
        digest = sha256(sent.strip().encode()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return digest if scheme.lower() == "bearer" and any(matches) else None

    def guard(self, path: str) -> bool:
        """Say whether a request for this path must bring a key."""
        return bool(self._digests) and path not in OPEN_PATHS and not path.startswith(OPEN_FOLDER)


MAX_REQUESTS = 200_000
"""How many requests are remembered, of all callers together; each caller that has one takes some 400 bytes beside."""

_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_RATE = re.compile(r"([0-9]{1,6})\s*/\s*(second|minute|hour|day)")


@dataclass(frozen=True)
class Rate:
    """So many requests in so many seconds."""

    requests: int
    seconds: int


def parse_rates(text: str) -> tuple[Rate, ...]:
    """Return the rates of a list such as `10/second;1000/hour`. Raises ValueError."""
    found = [_RATE.fullmatch(part.strip()) for part in text.split(";")]
    rates = tuple(Rate(int(match[1]), _SECONDS[match[2]]) for match in found if match)
    if len(rates) < len(found) or not all(1 <= rate.requests <= MAX_REQUESTS for rate in rates):
        raise ValueError(
            "it must be a number of requests, / and second, minute, hour or day, such as 60/minute or "
            f"10/second;1000/hour; the number is 1 to {MAX_REQUESTS}"
        )
    return rates


class Quota:
    """Counts the requests of each caller in this process, and refuses what is more than every rate allows.

    Refused requests do not count. It holds the times of at most MAX_REQUESTS requests: where there are more, the
    callers that asked longest ago are forgotten, never one that floods.
    """

    def __init__(self, rates: Sequence[Rate], clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = rates
        self._most = max((rate.requests for rate in rates), default=0)
        self._longest = max((rate.seconds for rate in rates), default=0)
        self._clock = clock
        self._times: OrderedDict[bytes, array[float]] = OrderedDict()
        """When each caller's last requests came, the oldest first; the callers by when they asked last."""
        self._remembered = 0
        self._lock = threading.Lock()

    def take(self, caller: bytes) -> None:
        """Count a request. Raises RateLimited, with the seconds until the next is allowed."""
        if not self._rates:
            return
        with self._lock:
            now = self._clock()
            times = self._times.setdefault(caller, array("d"))
            self._times.move_to_end(caller)
            free_at = max(
                (times[-r.requests] + r.seconds for r in self._rates if len(times) >= r.requests), default=now
            )
            if free_at > now:
                raise RateLimited(retry_after=math.ceil(free_at - now))
            times.append(now)
            self._remembered += 1
            if len(times) > self._most:
                del times[0]
                self._remembered -= 1
            self._forget(now - self._longest)

    def _forget(self, before: float) -> None:
        """Forget callers that last asked before that time, and as many more as there is no room for."""
        while self._remembered > MAX_REQUESTS or self._oldest()[-1] < before:
            self._remembered -= len(self._times.popitem(last=False)[1])

    def _oldest(self) -> "array[float]":
        return next(iter(self._times.values()))


def counted_as(address: Address | None) -> bytes:
    """Return what counts as one caller: an IPv4 address, or the 64 bits of IPv6 that one subscriber has."""
    return address.packed[:8] if address else b""


COUNTED = "/v1/"
"""What a quota counts; who supervises the service is never refused."""


class Access:
    """The keys that open the service, the quota of each caller, and the proxies that say who the caller is."""

    def __init__(self, keys: Sequence[str], rates: Sequence[Rate], trusted_proxies: Sequence[Network]) -> None:
        self._keys = Keys(keys)
        self._quota = Quota(rates)
        self._trusted_proxies = trusted_proxies

    def client(self, peer: str | None, forwarded_for: str) -> Address | None:
        """Return the address that asks, of which counts as one what `counted_as` says.

        peer: who has connected; forwarded_for: the header X-Forwarded-For
        """
        return client_address(peer or "", forwarded_for, self._trusted_proxies)

    def require(self, path: str, authorization: str, client: Address | None, *, counted: bool = False) -> bool:
        """Count a request, unless it is counted already, and return whether it is.

        Raises RateLimited, and Unauthorized where it lacks a key.
        """
        key = self._keys.digest_of(authorization)
        if path.startswith(COUNTED) and not counted:
            self._quota.take(key or counted_as(client))
            counted = True
        if key is None and self._keys.guard(path):
            raise Unauthorized
        return counted
