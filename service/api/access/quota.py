"""A quota: how many requests each caller has in a window of time that moves along with the clock."""

import math
import re
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.api.access.clients import Address
from service.errors import RateLimited

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
