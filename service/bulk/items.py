"""The items of a collection, the outcome of each, and the engines that process them."""

import os
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
    failure:       what its source already found to be wrong with it
    """

    object_number: str
    kind: Kind
    place: str
    canvas: str | None = None
    manifest: str | None = None
    failure: "Failure | None" = None


NumberedItem = tuple[int, Item]
"""An item with its number in the collection, by which it is identified throughout the job."""


@dataclass(frozen=True)
class Answer:
    """What was found for a picture.

    sha256:        of its bytes, in hex; format, width, height, decoded_at: as the service's answers have them
    rankings:      of each of the job's lists, packed by rankings.RankingPacker
    warnings:      sentences for a person, if the picture may not be what was meant
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
    """Why a picture has no answer: the service's code for it, or one of this package's own, and a sentence."""

    code: str
    detail: str


Outcome = Answer | Failure
NumberedOutcome = tuple[int, Outcome]


class Engine(Protocol):
    """Processes pictures: in threads of this process, or on Ray."""

    def outcomes(self, items: Iterable[NumberedItem]) -> Iterator[NumberedOutcome]:
        """Yield the outcome of each item, in any order; of one more than once only if a machine was lost.

        Items are taken lazily, on the caller's thread, so that reading them and writing outcomes may share a database.
        What is wrong with a picture is an outcome; what is raised ends the job.
        """


def as_text(path: str) -> str:
    """Return a path as text; a file name may be in any encoding."""
    return os.fsencode(path).decode("utf-8", "replace")
