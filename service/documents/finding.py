"""What a document is made of: a picture, what was found for it, and the model run that found it."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


@dataclass(frozen=True)
class Subject:
    """The picture that a document describes.

    object_number: the museum's own number or name of what the picture shows
    url:           where the picture is
    canvas:        the URI of the IIIF canvas that shows it; and manifest, of the manifest that has that canvas
    sha256:        of the picture's bytes, in hex
    """

    object_number: str | None = None
    url: str | None = None
    canvas: str | None = None
    manifest: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Term:
    """A phrase of a ranking; its probability is relative to the list."""

    rank: int
    label: str
    phrase: str
    uri: str | None
    probability: float
    similarity: float


@dataclass(frozen=True)
class RankedTerms:
    """The first terms of a list. candidates: how many the list has; hash: SHA-256 of the list, in hex."""

    list_name: str
    title: str
    hash: str
    candidates: int
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Finding:
    """What was found for one picture."""

    subject: Subject
    lists: tuple[RankedTerms, ...]


@dataclass(frozen=True)
class Provenance:
    """The model run that produced findings.

    model, revision: of CLIP; revision None for a model that has none
    version:         of Gaze
    address:         of the service, without a trailing slash: its IRIs start with this
    created:         in UTC
    """

    model: str
    revision: str | None
    version: str
    address: str
    created: datetime


class Kind(Enum):
    """What a term of a list would be in a catalogue's record."""

    ARTIST = "artist"
    STYLE = "style"
    MATERIAL = "material"
    TECHNIQUE = "technique"
    OTHER = "other"


_KINDS = {
    "artists_by_name": Kind.ARTIST,
    "artists_by_training_prevalence": Kind.ARTIST,
    "movements": Kind.STYLE,
    "painting_materials": Kind.MATERIAL,
    "printing_techniques": Kind.TECHNIQUE,
    "sculpture_materials": Kind.MATERIAL,
    "surfaces": Kind.MATERIAL,
}


def kind_of(list_name: str) -> Kind:
    """Return the kind of a built-in list; OTHER for tools, sites and qualities, and for unknown lists."""
    return _KINDS.get(list_name, Kind.OTHER)
