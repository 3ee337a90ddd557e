"""Rows -> CSV text (RFC 4180): lines end with CR LF; to be written as UTF-8 without a byte order mark.

No mark, because ResourceSpace refuses it and others would take it for a part of the first header.
"""

import re
from collections.abc import Iterable

from service.documents.note import Value, shown

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_QUOTED = re.compile(r'[",\r\n]')


def csv_line(cells: Iterable[Value]) -> str:
    """Return one line with its line end. No spreadsheet takes a cell for a formula.

    A text that begins like one, or with apostrophes and then like one, gets an apostrophe before it. A reader takes one
    apostrophe away wherever that is what a cell begins with, and has the text again. Numbers stay as they are.
    """
    return ",".join(quoted(_guarded(cell) if isinstance(cell, str) else shown(cell)) for cell in cells) + "\r\n"


def quoted(text: str) -> str:
    """Return a text in quotes where it needs them."""
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text
