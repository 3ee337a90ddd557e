"""What looks at a collection's pictures: threads of this process, or Ray."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from service.bulk.items import NumberedItem, NumberedOutcome


class Engine(Protocol):
    """Looks at pictures."""

    def outcomes(self, items: Iterable[NumberedItem]) -> Iterator[NumberedOutcome]:
        """Yield what becomes of each item, in any order; of one more than once only where a machine was lost.

        Items are taken as they are needed, on the caller's thread, so that they may be read and outcomes be written to
        one database. What is wrong with a picture is an outcome; what is raised keeps all of them from being looked at.
        """
