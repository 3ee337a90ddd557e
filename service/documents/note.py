"""A prediction as one line of text, for a note field: for people, and to be read back exactly.

The line is MARK and then `; name=value` for every value of the prediction. In a value, what would end it or what an
importer takes apart is percent-encoded as UTF-8.
"""

from urllib.parse import quote

from service.documents.finding import Machine, RankedTerms, Term
from service.documents.naming import escaped_iri, utc

Value = str | int | float | None

MARK = "Machine suggestion, not reviewed"
_ENDS_A_LINE = "".join(map(chr, [*range(0x20), 0x7F, 0x85, 0x2028, 0x2029]))
_ENDS_A_VALUE = f'%;|\\"{_ENDS_A_LINE}'
_ENDS_AN_ITEM = f"|\\{_ENDS_A_LINE}"


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
    fields = (f"{name}={_encoded(shown(value), _ENDS_A_VALUE)}" for name, value in values.items() if value is not None)
    return "; ".join((MARK, *fields))


def item(text: str) -> str:
    """Return a text that can stand between the bars of a repeated cell: bars, backslashes, line ends are encoded."""
    return _encoded(text, _ENDS_AN_ITEM)


def shown(value: Value) -> str:
    """Return a value as text, "" for None; floats as the shortest text that reads back as the same float."""
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _encoded(text: str, characters: str) -> str:
    """Return a text with these characters percent-encoded, `%` first if it is one of them.

    One kind after the other: where a text has nothing else, character by character would take forty times as long.
    """
    for character in characters:
        if character in text:
            text = text.replace(character, quote(character, safe=""))
    return text
