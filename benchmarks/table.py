"""Markdown tables and numbers in them."""

from collections.abc import Iterable, Sequence

NOTHING = "–"
"""What stands in a cell for which there is no number."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a markdown table; all columns but the first are set flush right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def duration(seconds: float) -> str:
    """Return seconds to three digits, with the unit that suits them."""
    if seconds >= 0.9995:
        return f"{_three_digits(seconds)} s"
    return f"{_three_digits(seconds * 1000)} ms"


def ratio(value: float) -> str:
    """Return a ratio to three digits."""
    return f"{_three_digits(value)} ×"


def rate(per_second: float) -> str:
    """Return a rate to three digits."""
    return f"{_three_digits(per_second)}/s"


def megabytes(size: float) -> str:
    """Return bytes in MB, of which each has a million."""
    return f"{size / 1e6:,.0f} MB"


def _three_digits(value: float) -> str:
    for limit, digits in ((9.995, 2), (99.95, 1)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"
