"""Reads notes back, as docs/recipes.md describes them."""

from urllib.parse import unquote

MARK = "Machine suggestion, not reviewed"


def prediction_in(note: str) -> dict[str, str]:
    """Return the values of a note by name."""
    mark, *fields = note.split("; ")
    assert mark == MARK
    pairs = [field.split("=", 1) for field in fields]
    values = {name: unquote(value, errors="strict") for name, value in pairs}
    assert len(values) == len(pairs)
    return values
