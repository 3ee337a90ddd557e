"""What documents call a picture, a model, a date and a prediction.

A prediction as one line of text, for a note field, can be read back exactly: it is MARK and then `; name=value` for
every value. In a value, what would end it or what importers split at is percent-encoded as UTF-8.
"""

import base64
import re
from datetime import UTC
from urllib.parse import quote

from service.documents.finding import Provenance, RankedTerms, Subject, Term

_AUTHORITY = re.compile(r"([^/?#]*//[^/?#]*)?")
_NOT_IN_IRIS = r'\x00-\x20\x7f-\x9f<>"{}|\\^`\ud800-\udfff'
_WRONG_IN_AUTHORITY = re.compile(rf"[{_NOT_IN_IRIS}]|%(?![0-9A-Fa-f]{{2}})")
_WRONG_AFTER_IT = re.compile(rf"[{_NOT_IN_IRIS}#\[\]]|%(?![0-9A-Fa-f]{{2}})")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

Value = str | int | float | None
MARK = "Machine suggestion, not reviewed"
_ENDS_A_LINE = "".join(map(chr, [*range(0x20), 0x7F, 0x85, 0x2028, 0x2029]))
_ENDS_A_VALUE = f'%;|\\"{_ENDS_A_LINE}'
_ENDS_AN_ITEM = f"|\\{_ENDS_A_LINE}"


def escaped_iri(text: str) -> str:
    """Return an address with the characters that are invalid in an IRI percent-encoded (RFC 3987)."""
    authority = text[: _AUTHORITY.match(text).end()]  # type: ignore[union-attr]  # it matches anything
    rest, mark, fragment = text[len(authority) :].partition("#")
    after = (_WRONG_AFTER_IT.sub(_percent_encoded, part) for part in (rest, fragment))
    return _WRONG_IN_AUTHORITY.sub(_percent_encoded, authority) + mark.join(after)


def escaped_uri(text: str) -> str:
    """Return an address with the characters that are invalid in a URI percent-encoded, all non-ASCII too (RFC 3986)."""
    return re.sub(r"[^\x00-\x7f]", _percent_encoded, escaped_iri(text))


def _percent_encoded(match: re.Match[str]) -> str:
    return quote(match[0], safe="", errors="replace")


def picture_iri(subject: Subject, provenance: Provenance) -> str:
    """Return the IRI of a picture: its canvas, else its address, else its hash, else its number under the service.

    A canvas whose id is no absolute IRI, as a manifest from elsewhere may have it, is passed over. An upload has no
    address: `ni:///sha-256;…` (RFC 6920) is the registered way to name bytes by their hash. It is the same for whoever
    hashes the same file, and can be checked. There is no URN namespace for hashes.
    """
    for address in (subject.canvas, subject.url):
        if address and _ABSOLUTE.match(address):
            return escaped_iri(address)
    if subject.sha256:
        digest = base64.urlsafe_b64encode(bytes.fromhex(subject.sha256)).rstrip(b"=").decode()
        return f"ni:///sha-256;{digest}"
    return f"{provenance.address}/pictures/{quote(object_number(subject) or 'unnamed', safe='')}"


def object_number(subject: Subject) -> str | None:
    """Return the museum's number. Bytes of a file's name that are no UTF-8, and come as surrogates, become `?`."""
    return None if subject.object_number is None else subject.object_number.encode(errors="replace").decode()


def picture_name(subject: Subject, provenance: Provenance) -> str:
    """Return the key of a catalogue's record: the object number, else the IRI of the picture."""
    return object_number(subject) or picture_iri(subject, provenance)


def model_iri(provenance: Provenance) -> str:
    """Return the IRI of the model at its revision: where the service describes its model, and a fragment for which."""
    return f"{provenance.address}/v1/model#{quote(model_name(provenance), safe='@:')}"


def model_name(provenance: Provenance) -> str:
    """Return model@revision, or the model alone where it has no revision."""
    return f"{provenance.model}@{provenance.revision}" if provenance.revision else provenance.model


def utc(provenance: Provenance) -> str:
    """Return when the machine answered as an xsd:dateTime in UTC, to the second."""
    return provenance.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def values_of(ranked: RankedTerms, term: Term, provenance: Provenance) -> dict[str, Value]:
    """Return all values of a prediction by name; the date is in UTC."""
    return {
        "list": ranked.list_name,
        "rank": term.rank,
        "label": term.label,
        "phrase": term.phrase,
        "uri": None if term.uri is None else escaped_iri(term.uri),
        "probability": term.probability,
        "similarity": term.similarity,
        "model": provenance.model,
        "revision": provenance.revision,
        "date": utc(provenance),
        "list_hash": ranked.hash,
        "candidates": ranked.candidates,
    }


def note(ranked: RankedTerms, term: Term, provenance: Provenance) -> str:
    """Return the note of one prediction, without unknown values."""
    values = values_of(ranked, term, provenance)
    known = {name: shown(value) for name, value in values.items() if value is not None}
    fields = (f"{name}={_with_encoded(text, _ENDS_A_VALUE)}" for name, text in known.items())
    return "; ".join((MARK, *fields))


def item(text: str) -> str:
    """Return a text for a repeated cell: bars, backslashes and line ends are encoded."""
    return _with_encoded(text, _ENDS_AN_ITEM)


def shown(value: Value) -> str:
    """Return a value as text, "" for None; floats as the shortest text that reads back as the same float."""
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _with_encoded(text: str, characters: str) -> str:
    """Return a text with these characters percent-encoded, `%` first if it is one of them.

    One kind after the other: character by character would take forty times as long.
    """
    for character in characters:
        if character in text:
            text = text.replace(character, quote(character, safe=""))
    return text
