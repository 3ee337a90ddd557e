"""How much may be under way at a time; what is more is refused at once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from service.errors import Overloaded

RETRY_SECONDS = 1


class Taken(Protocol):
    """How many places are taken: by this process, and by all that share them."""

    own: int

    @property
    def total(self) -> int:
        """How many are taken by all."""


class TakenHere:
    """How many places are taken where no other process shares them."""

    own = 0

    @property
    def total(self) -> int:
        """How many are taken."""
        return self.own


class Admission:
    """Places for requests that cost something: some for those that compute, others for those that fetch.

    gunicorn's worker takes a place before a request costs a thread, and the app for what did not come by that way. Who
    fetches an image gives the place back for as long, so that slow hosts keep nobody from computing.
    """

    def __init__(self, places: int, fetches: int = 0, taken: Taken | None = None) -> None:
        self._places = places
        self._fetches = fetches
        self._taken = taken or TakenHere()
        self._fetching = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken.total

    @property
    def is_full(self) -> bool:
        """Whether no place is free."""
        return self._taken.total >= self._places

    def has_share(self, processes: int) -> bool:
        """Return whether this process has as many places as it may, of so many that share them, while others are free.

        Where it takes more, these wait for each other while the other processes have little to do.
        """
        return self._taken.own * processes >= self._places and not self.is_full

    def take(self) -> bool:
        """Take a place, and say whether there was one.

        It is taken before it is counted, so that processes which do so at once never have one too many; for the last
        place, both may be refused.
        """
        with self._lock:
            self._taken.own += 1
            free = self._taken.total <= self._places
            self._taken.own -= not free
            return free

    def give_back(self) -> None:
        """Give back a place that was taken."""
        with self._lock:
            self._taken.own -= 1

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place. Raises Overloaded, at once, if there is none."""
        if not self.take():
            raise Overloaded(retry_after=RETRY_SECONDS)
        try:
            yield
        finally:
            self.give_back()

    @contextmanager
    def fetching(self) -> Iterator[None]:
        """Give back, for a while, the place that is held. Raises Overloaded, at once, if as many fetch as may."""
        with self._lock:
            if self._fetching >= self._fetches:
                raise Overloaded("The service fetches as many images as it can.", retry_after=RETRY_SECONDS)
            self._fetching += 1
            self._taken.own -= 1
        try:
            yield
        finally:
            with self._lock:
                self._fetching -= 1
                self._taken.own += 1  # what was fetched is computed, even if others have come meanwhile


class SharedByCallers:
    """Places of which one caller has only some at a time, so that nobody can hold all of them.

    places: how many there are; each: how many of them one caller may have
    """

    def __init__(self, places: int, each: int) -> None:
        self.all = Admission(places)
        self.each = each
        self.taken: Counter[bytes] = Counter()

    def of(self, caller: bytes) -> "PlacesOfCaller":
        """Return the places as one caller has them."""
        return PlacesOfCaller(self, caller)


class PlacesOfCaller:
    """Places that others have as well; for one thread alone, the event loop's."""

    def __init__(self, shared: SharedByCallers, caller: bytes) -> None:
        self._shared = shared
        self._caller = caller

    def take(self) -> bool:
        """Take a place, and say whether there was one for this caller."""
        taken = self._shared.taken
        if taken[self._caller] >= self._shared.each or not self._shared.all.take():
            return False
        taken[self._caller] += 1
        return True

    def give_back(self) -> None:
        """Give back a place that was taken."""
        self._shared.all.give_back()
        self._shared.taken[self._caller] -= 1
        if not self._shared.taken[self._caller]:
            del self._shared.taken[self._caller]
