"""What documents call a picture, a model and a moment."""

import base64
import re
from datetime import UTC
from urllib.parse import quote

from service.documents.finding import Machine, Subject

_AUTHORITY = re.compile(r"([^/?#]*//[^/?#]*)?")
_NOT_IN_IRIS = r'\x00-\x20\x7f-\x9f<>"{}|\\^`\ud800-\udfff'
_WRONG_IN_AUTHORITY = re.compile(rf"[{_NOT_IN_IRIS}]|%(?![0-9A-Fa-f]{{2}})")
_WRONG_AFTER_IT = re.compile(rf"[{_NOT_IN_IRIS}#\[\]]|%(?![0-9A-Fa-f]{{2}})")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def escaped_iri(text: str) -> str:
    """Return an address with the characters that no IRI may have there percent-encoded; all others stay (RFC 3987)."""
    authority = text[: _AUTHORITY.match(text).end()]  # type: ignore[union-attr]  # it matches anything
    rest, mark, fragment = text[len(authority) :].partition("#")
    after = (_WRONG_AFTER_IT.sub(_encoded, part) for part in (rest, fragment))
    return _WRONG_IN_AUTHORITY.sub(_encoded, authority) + mark.join(after)


def escaped_uri(text: str) -> str:
    """Return an address with all percent-encoded that no URI may have, which is what is not ASCII too (RFC 3986)."""
    return re.sub(r"[^\x00-\x7f]", _encoded, escaped_iri(text))


def _encoded(match: re.Match[str]) -> str:
    return quote(match[0], safe="", errors="replace")


def picture_iri(subject: Subject, machine: Machine) -> str:
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
    return f"{machine.address}/pictures/{quote(object_number(subject) or 'unnamed', safe='')}"


def object_number(subject: Subject) -> str | None:
    """Return the museum's number. Bytes of a file's name that are no UTF-8, and come as surrogates, become `?`."""
    return None if subject.object_number is None else subject.object_number.encode(errors="replace").decode()


def picture_name(subject: Subject, machine: Machine) -> str:
    """Return what a catalogue's record is found by: the object number, else the IRI of the picture."""
    return object_number(subject) or picture_iri(subject, machine)


def model_iri(machine: Machine) -> str:
    """Return the IRI of the model at its revision: where the service describes its model, and a fragment for which."""
    return f"{machine.address}/v1/model#{quote(model_name(machine), safe='@:')}"


def model_name(machine: Machine) -> str:
    """Return model@revision, or the model alone where it has no revision."""
    return f"{machine.model}@{machine.revision}" if machine.revision else machine.model


def utc(machine: Machine) -> str:
    """Return when the machine answered as an xsd:dateTime in UTC, to the second."""
    return machine.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
