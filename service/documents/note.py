"""A prediction as one line of text, for a note field: for people, and to be read back exactly.

The line is MARK and then `; name=value` for every value of the prediction. In a value, what would end it or what an
importer takes apart is percent-encoded as UTF-8.
"""

import re
from urllib.parse import quote

from service.documents.finding import Machine, RankedTerms, Term
from service.documents.naming import escaped_iri, utc

Value = str | int | float | None

MARK = "Machine suggestion, not reviewed"
_ENDS_A_VALUE = re.compile(r'[%;|\\"\x00-\x1f\x7f\x85\u2028\u2029]')
_ENDS_AN_ITEM = re.compile(r"[|\\\x00-\x1f\x7f\x85\u2028\u2029]")


def values_of(ranked: RankedTerms, term: Term, machine: Machine) -> dict[str, Value]:
    """Return all that is told of a prediction, by the name that it has everywhere; the date is in UTC."""
    return {
        "list": ranked.list_name,
        "rank": term.rank,
        "label": term.label,
        "phrase": term.phrase,
        "uri": None if term.uri is None else escaped_iri(term.uri),
        "probability": term.probability,
        "similarity": term.similarity,
        "model": machine.model,
        "revision": machine.revision,
        "date": utc(machine),
        "list_hash": ranked.hash,
        "candidates": ranked.candidates,
    }


def note(ranked: RankedTerms, term: Term, machine: Machine) -> str:
    """Return the note of one prediction; what is not known is left out."""
    values = values_of(ranked, term, machine)
    fields = (
        f"{name}={_ENDS_A_VALUE.sub(_encoded, shown(value))}" for name, value in values.items() if value is not None
    )
    return "; ".join((MARK, *fields))


def item(text: str) -> str:
    """Return a text that can stand between the bars of a repeated cell: bars, backslashes, line ends are encoded."""
    return _ENDS_AN_ITEM.sub(_encoded, text)


def shown(value: Value) -> str:
    """Return a value as text, "" for None; floats as the shortest text that reads back as the same float."""
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _encoded(match: re.Match[str]) -> str:
    return quote(match[0], safe="")
