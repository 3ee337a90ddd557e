"""CSV as people's programs write it -> the names in its first line, and rows with their line numbers.

RFC 4180, with what Excel, LibreOffice and databases do otherwise: other separators, a first line `sep=;`, blanks around
quotes, separators and whole rows too many, ="0012" for a text that looks like a number, and the character that ended
files on DOS.
"""

import csv
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import chain

_SEPARATORS = ",;\t|"
_NOTHING = f" {_SEPARATORS}\r\n"
_SAID = re.compile(r'"?sep *= *(\\t|.) *"?[,;\t|]*', re.IGNORECASE)
_BLANKS = " \t\N{NO-BREAK SPACE}"
_END_OF_FILE = "\x1a"
_EXCELS_TEXT = re.compile(r'="(.*)"', re.DOTALL)

# Of one field; in front of a quote that nothing closes, all the rest of a file is one.
_MOST_CHARACTERS = 16 * 1024 * 1024

csv.field_size_limit(_MOST_CHARACTERS)


class BrokenCsv(Exception):
    """What cannot be read, with its line."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


class CsvRows:
    """The rows of a CSV, read lazily.

    header:      the names in its first line, in lower case and without what is no letter or digit
    lines:       those of the latest row, unchanged
    passed_over: so many rows of nothing but separators were left out so far
    """

    def __init__(self, lines: Iterable[str], known: Collection[str]) -> None:
        """Read the first line. Raises BrokenCsv.

        lines: with their ends
        known: names that the first line may have, by which its separator is recognised
        """
        self.passed_over = 0
        self.lines: list[str] = []
        self._before = 0
        self._quote_before: int | None = None
        source = iter(lines)
        first, said = self._first(source)
        if "\0" in first:
            raise BrokenCsv(self._before + 1, "there is a NUL character, as in UTF-16; save the file as UTF-8")
        self.separator = said or _separator(first, known)
        tidied = self._tidied(chain([first], source))
        self._reader = csv.reader(tidied, delimiter=self.separator, skipinitialspace=True, strict=True)
        self.header = [folded(name) for name in self._next() or ()]

    @property
    def _line(self) -> int:
        return max(1, self._before + self._reader.line_num)

    def _first(self, lines: Iterator[str]) -> tuple[str, str | None]:
        """Return the first line that has a name, and the separator that was said before it."""
        said = None
        for line in lines:
            if found := _SAID.fullmatch(line.rstrip("\r\n")):
                said = found[1].replace("\\t", "\t")
            elif line.strip(_NOTHING):
                return line, said
            else:
                self.passed_over += bool(line.strip())
            self._before += 1
        return "", said

    def _next(self) -> list[str] | None:
        self.lines = []
        try:
            return next(self._reader, None)
        except csv.Error as error:
            opened = self._quote_before
            if opened is None:
                raise BrokenCsv(self._line, str(error)) from None
            if "unexpected end" in str(error):
                raise BrokenCsv(opened, "the quote that a field begins with is not closed") from None
            why = f"{error}, or the quote that a field begins with in line {opened} is not closed"
            raise BrokenCsv(self._line, why) from None

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row that is not blank, with the line of its end: a cell for each name. Raises BrokenCsv."""
        while (row := self._next()) is not None:
            cells = [_text(cell) for cell in row]
            if not any(cells):
                self.passed_over += bool(row)
                continue
            width = len(self.header)
            if any(cells[width:]):
                raise BrokenCsv(self._line, "there are more fields than in the first line")
            yield self._line, [*cells[:width], *[""] * (width - len(cells))]

    def _tidied(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield lines without the blanks around a quoted field, which csv takes for a mistake or for part of it.

        A quote within a field that does not begin with one is a character like any other.
        """
        blanks = _BLANKS.replace(self.separator, "")
        opened: int | None = None
        for number, line in enumerate(lines, start=self._before + 1):
            self.lines.append(line)
            self._quote_before = opened
            quoted = opened is not None
            pieces = line.split('"')
            opens = doubled = False
            for place, piece in enumerate(pieces):
                closed = quoted
                if place:
                    quoted = not quoted and opens
                if quoted:
                    opened = number if place and not doubled else opened
                    continue
                ends = (self.separator, "\r", "\n", *[""][: place == len(pieces) - 1])
                if place and closed and piece.lstrip(blanks)[:1] in ends:
                    pieces[place] = piece.lstrip(blanks)
                before = pieces[place].rstrip(blanks)
                doubled = closed and not pieces[place]
                opens = before.endswith(self.separator) or (not before and not place) or doubled
                if opens and place < len(pieces) - 1:
                    pieces[place] = before
            opened = opened if quoted else None
            yield '"'.join(pieces) if len(pieces) > 1 else line
        self._quote_before = opened


def folded(name: str) -> str:
    """Return a column's name in lower case and without what is no letter or digit: objectnumber for Object_Number."""
    return "".join(filter(str.isalnum, name.lower()))


def _separator(header: str, known: Collection[str]) -> str:
    def fit(separator: str) -> tuple[int, int]:
        try:
            names = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        except csv.Error:
            return 0, 0
        return len({folded(name) for name in names}.intersection(known)), len(names)

    return max(_SEPARATORS, key=fit)


def _text(cell: str) -> str:
    cell = cell.strip().strip(_END_OF_FILE)
    excels = _EXCELS_TEXT.fullmatch(cell)
    return excels[1].replace('""', '"').strip() if excels else cell
