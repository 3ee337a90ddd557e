"""What a collection consists of, what became of each of its pictures, and what looks at them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["file", "url", "service"]
"""file: a path; url: of a picture; service: the URI of a IIIF image service, which is asked for a size that serves."""


@dataclass(frozen=True)
class Item:
    """One picture of a collection.

    object_number: the museum's own number of what the picture shows, or what stands in for it
    place:         where the picture is
    canvas:        the URI of the IIIF canvas that shows it; and manifest, of the manifest that has that canvas
    failure:       what its source knows to be wrong with it, so that it need not be looked at
    """

    object_number: str
    kind: Kind
    place: str
    canvas: str | None = None
    manifest: str | None = None
    failure: "Failure | None" = None


NumberedItem = tuple[int, Item]
"""An item at its place in the collection; the number is what it is known by until the end of the job."""


@dataclass(frozen=True)
class Answer:
    """What was found for a picture.

    sha256:        of its bytes, in hex; format, width, height, decoded_at: as the service's answers have them
    rankings:      of each of the job's lists, as rankings.packed() makes them
    warnings:      sentences for a person, where the picture may not be what was meant
    """

    sha256: str
    format: str
    width: int
    height: int
    rankings: bytes
    decoded_at: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why there is nothing for a picture: the service's code for it, or one of this package's own, and a sentence."""

    code: str
    detail: str


Outcome = Answer | Failure
NumberedOutcome = tuple[int, Outcome]


class Engine(Protocol):
    """Looks at pictures."""

    def outcomes(self, items: Iterable[NumberedItem]) -> Iterator[NumberedOutcome]:
        """Yield what becomes of each item, in any order; of one more than once only where a machine was lost.

        Items are taken as they are needed, on the caller's thread, so that they may be read and outcomes be written to
        one database. What is wrong with a picture is an outcome; what is raised keeps all of them from being looked at.
        """
