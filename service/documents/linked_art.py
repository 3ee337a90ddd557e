"""Findings -> Linked Art 1.0: a record of the object that a picture shows, with what a machine suggests for it.

Linked Art wants attribute assignments used sparingly. So a term becomes one only if it has an authority's URI; any
other becomes a statement in the record. Nothing is asserted of the object itself.

Source: Linked Art 1.0, its model (assignments of attributes; creation by artificial intelligence) and JSON schemas.
"""

from typing import Any

from service.documents.finding import Finding, Kind, Provenance, RankedTerms, Subject, Term, kind_of
from service.documents.naming import MARK, escaped_uri, model_iri, model_name, note, object_number, picture_iri, utc

CONTEXT = "https://linked.art/ns/v1/linked-art.json"


_AI = (300456842, "Artificial Intelligence")
_AI_GENERATED = (300456841, "AI Generated Content")
_POSSIBLY_BY = (300404272, "Possibly By")
_BRIEF_TEXT = (300418049, "Brief Text")
_STYLE = (300015646, "Styles and Periods")


def linked_art(finding: Finding, provenance: Provenance) -> dict[str, Any]:
    """Return the record of one picture's object.

    Its id is the picture's IRI with the fragment `object`, because a canvas or a file is not the object that it shows;
    a museum puts its own URI there.
    """
    record: dict[str, Any] = {
        "@context": CONTEXT,
        "id": _object_uri(finding.subject, provenance),
        "type": "HumanMadeObject",
        "_label": object_number(finding.subject) or "Object in a picture",
        **_pictured(finding.subject),
    }
    of_object, of_production, statements = [], [], []
    for ranked in finding.lists:
        for term in ranked.terms:
            if term.uri is None:
                statements.append(_statement(ranked, term, provenance))
            elif kind_of(ranked.list_name) in (Kind.ARTIST, Kind.TECHNIQUE):
                of_production.append(_assignment(ranked, term, term.uri, provenance))
            else:
                of_object.append(_assignment(ranked, term, term.uri, provenance))
    if statements:
        record["referred_to_by"] = statements
    if of_object:
        record["attributed_by"] = of_object
    if of_production:
        record["produced_by"] = {"type": "Production", "attributed_by": of_production}
    return record


def _object_uri(subject: Subject, provenance: Provenance) -> str:
    uri = escaped_uri(picture_iri(subject, provenance))
    return f"{uri}/object" if "#" in uri else f"{uri}#object"


def _pictured(subject: Subject) -> dict[str, Any]:
    """Return by what the object is identified and where it can be seen."""
    known: dict[str, Any] = {}
    if number := object_number(subject):
        known["identified_by"] = [{"type": "Identifier", "content": number}]
    if subject.url:
        known["representation"] = [{"type": "VisualItem", "digitally_shown_by": [_digital(subject.url)]}]
    if subject.manifest:
        known["subject_of"] = [{"type": "LinguisticObject", "digitally_carried_by": [_digital(subject.manifest)]}]
    return known


def _digital(address: str) -> dict[str, Any]:
    return {"type": "DigitalObject", "access_point": [{"id": escaped_uri(address), "type": "DigitalObject"}]}


def _assignment(ranked: RankedTerms, term: Term, uri: str, provenance: Provenance) -> dict[str, Any]:
    """Return what the machine assigned, how and when.

    The model stands under `influenced_by`, of which `used_specific_object` is a narrower property: the schema lets that
    one have physical objects and sets only.
    """
    assigned_property, assigned = _assigned(kind_of(ranked.list_name), escaped_uri(uri), term.label)
    possibly_by = [_POSSIBLY_BY] if kind_of(ranked.list_name) is Kind.ARTIST else []
    return {
        "type": "AttributeAssignment",
        "_label": f"{MARK}: {term.label}",
        "classified_as": _types(*possibly_by, _AI_GENERATED),
        "technique": _types(_AI),
        "influenced_by": [{"id": model_iri(provenance), "type": "DigitalObject", "_label": model_name(provenance)}],
        "timespan": {"type": "TimeSpan", "begin_of_the_begin": utc(provenance), "end_of_the_end": utc(provenance)},
        "referred_to_by": [_statement(ranked, term, provenance)],
        **assigned_property,
        "assigned": [assigned],
    }


def _assigned(kind: Kind, uri: str, label: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the property that is assigned, and its value. Where no property fits the list, the relation stays open."""
    concept: dict[str, Any] = {"id": uri, "type": "Type", "_label": label}
    match kind:
        case Kind.ARTIST:
            artist = {"id": uri, "type": "Person", "_label": label}
            return {"assigned_property": "part"}, {"type": "Production", "carried_out_by": [artist]}
        case Kind.STYLE:
            return {"assigned_property": "classified_as"}, {**concept, "classified_as": _types(_STYLE)}
        case Kind.MATERIAL:
            return {"assigned_property": "made_of"}, {**concept, "type": "Material"}
        case Kind.TECHNIQUE:
            return {"assigned_property": "technique"}, concept
        case Kind.OTHER:
            return {}, concept


def _statement(ranked: RankedTerms, term: Term, provenance: Provenance) -> dict[str, Any]:
    content = note(ranked, term, provenance)
    return {"type": "LinguisticObject", "classified_as": _types(_BRIEF_TEXT, _AI_GENERATED), "content": content}


def _types(*concepts: tuple[int, str]) -> list[dict[str, str]]:
    return [
        {"id": f"http://vocab.getty.edu/aat/{number}", "type": "Type", "_label": label} for number, label in concepts
    ]
