"""A JSON document of any IIIF API: read within bounds, and what its versions name differently under one name."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin

from service.errors import ImageFetchFailed
from service.images.fetch.fetcher import MAX_URL_CHARACTERS
from service.parsing.json_extent import json_extent

Document = dict[str, Any]

MOST_BYTES = 16 * 1024 * 1024  # of one document, however much of the budget is left
MOST_VALUES = 1_000_000  # of one document: parsed, the smallest values take some twenty times their bytes
_MOST_LABEL_CHARACTERS = 500
_MOST_PIXELS_A_SIDE = 2**31
_MOST_DIGITS = 20
_LAST_PART = re.compile(r".*[:#/]", re.DOTALL)
_RESERVED = "%/:?#[]@!$&'()*+,;=~"


@dataclass
class IiifBudget:
    """What reading IIIF documents may still cost one request, or one job, however many URIs it reads.

    documents: to be fetched
    size:      bytes of all of them together
    values:    of JSON, in all of them together
    tiles:     of pictures
    """

    documents: int
    size: int
    values: int
    tiles: int = sys.maxsize

    def take_document(self) -> None:
        """Take one document, to be fetched or found within another. Raises ImageFetchFailed where none is left."""
        if self.documents <= 0:
            raise ImageFetchFailed("This leads to more IIIF documents than are read for one request.")
        self.documents -= 1

    def take_tiles(self, count: int) -> None:
        """Take the tiles of a picture, to be fetched. Raises ImageFetchFailed where fewer are left."""
        if self.tiles < count:
            raise ImageFetchFailed("This leads to more tiles of images than are read for one request.")
        self.tiles -= count

    @property
    def most_bytes(self) -> int:
        """What the next document may have."""
        return max(1, min(self.size, MOST_BYTES))

    def parse(self, body: bytes) -> Document:
        """Return the JSON object that a host sent, and count what it has. Raises as parsed() does."""
        most_values = min(self.values, MOST_VALUES)
        self.size -= len(body)
        self.values -= json_extent(body, MOST_VALUES).values
        return parsed(body, most_values)


def parsed(body: bytes, most_values: int = MOST_VALUES) -> Document:
    """Return the JSON object that a host sent. Raises ImageFetchFailed where it is none, or has too many values."""
    if json_extent(body, most_values).values > most_values:
        raise ImageFetchFailed("The document has more values than this service takes.")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ImageFetchFailed("The document is no JSON that can be read.") from None
    if not isinstance(document, dict):
        raise ImageFetchFailed("The document is no JSON object.")
    return document


def objects(value: object) -> Iterator[Document]:
    """Yield the objects in what may be one, a list of them, or anything else."""
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, dict):
            yield entry


def texts(value: object) -> Iterator[str]:
    """Yield the strings in what may be one, a list of them, or anything else."""
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, str):
            yield entry


def kind(entry: Document) -> str:
    """Return the type without its prefix: "Manifest" for `sc:Manifest` or its whole IRI; "" where there is none."""
    return without_prefix(next(texts(entry.get("type", entry.get("@type"))), ""))


def without_prefix(term: str) -> str:
    """Return a term of a vocabulary by its last part, however much of its IRI is written out."""
    return _LAST_PART.sub("", term[:MAX_URL_CHARACTERS])


def uri(entry: Document, beside: str | None = None) -> str | None:
    """Return `id` or `@id` as `http_uri` does."""
    return http_uri(entry.get("id", entry.get("@id")), beside)


def http_uri(value: object, beside: str | None = None) -> str | None:
    """Return an absolute http or https URI, with what no URI may contain percent-encoded; None where it is no such.

    beside: what a relative one is relative to, if such are meant
    """
    if not isinstance(value, str) or len(value) > MAX_URL_CHARACTERS:
        return None
    value = value.strip()
    if beside and value and ":" not in value.partition("/")[0]:
        try:
            value = urljoin(beside, value)
        except ValueError:  # of what is in brackets and no address
            return None
    if not value.lower().startswith(("http://", "https://")):
        return None
    start = value.find("/", len("https://"))
    # A host is no text to be percent-encoded: it becomes what the DNS has for it, or nothing.
    host, rest = (value, "") if start < 0 else (value[:start], value[start:])
    try:
        encoded = (host if host.isprintable() and " " not in host else quote(host, _RESERVED)) + quote(rest, _RESERVED)
    except UnicodeEncodeError:
        return None
    return encoded if len(encoded) <= MAX_URL_CHARACTERS else None


def pixels(entry: Document, key: str) -> int:
    """Return a number of pixels, which some write as text; 0 where there is none that can be."""
    value = entry.get(key)
    if isinstance(value, str) and len(value) < _MOST_DIGITS and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 < value < _MOST_PIXELS_A_SIDE else 0


def label(entry: Document) -> str | None:
    """Return the first text of a label, on one line of at most 500 characters: a language map, a value or a string."""
    value = entry.get("label")
    if isinstance(value, dict) and "@value" not in value:
        value = next(iter(value.values()), None)
    if isinstance(value, list):
        value = next(iter(value), None)
    if isinstance(value, dict):
        value = value.get("@value")
    if not isinstance(value, str):
        return None
    shown = "".join(letter if letter.isprintable() else " " for letter in value[:_MOST_LABEL_CHARACTERS])
    return " ".join(shown.split()) or None
