"""Findings -> a W3C Web Annotation page as IIIF Presentation 3 has it, one annotation a prediction.

Sources: W3C Web Annotation Data Model (2017), IIIF Presentation API 3.0, JSON-LD 1.1.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from service.documents.finding import Finding, Provenance, RankedTerms, Term
from service.documents.naming import escaped_iri, model_iri, model_name, picture_iri, utc

CONTEXT_PATH = "/ns/gaze/1/context.json"
NAMESPACE_PATH = "/ns/gaze/1#"
PRESENTATION_CONTEXT = "http://iiif.io/api/presentation/3/context.json"
CAUTION = (
    "Suggestions of a machine that nobody has reviewed. A probability says how a term fares against the other terms of "
    "its list, and not that it is true."
)
GETTY = "http://vocab.getty.edu/"
GETTY_CREDIT = "Contains information from the Getty vocabularies (AAT, ULAN), © J. Paul Getty Trust, ODC-BY 1.0."


def context(address: str) -> dict[str, Any]:
    """Return the JSON-LD context of our own keys, to be served at `CONTEXT_PATH` of the service at this address.

    Numbers are doubles: what JSON-LD makes of a small JSON number, such as 5.0E-10, is no xsd:decimal.
    """
    types = {"candidates": "integer", "probability": "double", "rank": "integer", "similarity": "double"}
    return {
        "@context": {
            "gaze": f"{address}{NAMESPACE_PATH}",
            "xsd": "http://www.w3.org/2001/XMLSchema#",
            **{f"gaze:{key}": {"@type": f"xsd:{name}"} for key, name in types.items()},
        }
    }


def page_head(findings: Sequence[Finding], provenance: Provenance, page_id: str) -> dict[str, Any]:
    """Return the page with the IRI page_id, hidden by default, without its items."""
    page: dict[str, Any] = {
        "@context": [f"{provenance.address}{CONTEXT_PATH}", PRESENTATION_CONTEXT],
        "id": page_id,
        "type": "AnnotationPage",
        "label": {"en": [f"Suggestions by {provenance.model} (unreviewed)"]},
        "summary": {"en": [CAUTION]},
        "behavior": ["hidden"],
    }
    if any((term.uri or "").startswith(GETTY) for each in findings for of in each.lists for term in of.terms):
        page["requiredStatement"] = {"label": {"en": ["Attribution"]}, "value": {"en": [GETTY_CREDIT]}}
    return page


def annotations(finding: Finding, provenance: Provenance, picture_id: str) -> Iterator[dict[str, Any]]:
    """Yield a picture's annotations.

    picture_id: that of the page with a fragment, the picture's number; theirs go on with list and rank
    """
    target = picture_iri(finding.subject, provenance)
    for ranked in finding.lists:
        for term in ranked.terms:
            yield {
                "id": f"{picture_id}/{quote(ranked.list_name, safe='')}/{term.rank}",
                "type": "Annotation",
                "motivation": ["tagging", "classifying"],
                "created": utc(provenance),
                "creator": {"id": model_iri(provenance), "type": "Software", "name": model_name(provenance)},
                "generator": {"id": f"{provenance.address}/", "type": "Software", "name": f"Gaze {provenance.version}"},
                "body": _bodies(term),
                **_measures(ranked, term, provenance),
                "target": target,
            }


def _bodies(term: Term) -> list[dict[str, Any]]:
    """Return the term as a concept, if it has a URI, and as text, whose language is unknown."""
    text = {"type": "TextualBody", "purpose": "tagging", "value": term.label, "format": "text/plain"}
    if term.uri is None:
        return [text]
    return [{"type": "SpecificResource", "purpose": "classifying", "source": escaped_iri(term.uri)}, text]


def _measures(ranked: RankedTerms, term: Term, provenance: Provenance) -> dict[str, Any]:
    revision = {"gaze:revision": provenance.revision} if provenance.revision else {}
    return {
        "gaze:list": ranked.list_name,
        "gaze:listHash": ranked.hash,
        "gaze:candidates": ranked.candidates,
        "gaze:rank": term.rank,
        "gaze:phrase": term.phrase,
        "gaze:probability": term.probability,
        "gaze:similarity": term.similarity,
        "gaze:model": provenance.model,
        **revision,
    }
