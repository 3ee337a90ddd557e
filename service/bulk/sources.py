"""The sources of a job -> items: folders, patterns, files, CSV tables, and IIIF documents."""

import codecs
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

from service.bulk.items import Failure, Item, Kind, as_text
from service.bulk.reading import UNREADABLE_FILE
from service.errors import JobError
from service.iiif.image_api import ImageUri
from service.iiif.presentation import Broken, Canvas
from service.images.decode import FORMATS
from service.parsing.csv_files import BrokenCsv, CsvRows

EXTENSIONS = frozenset(extension for each in FORMATS for extension in each.extensions)
"""A folder's pictures are its files with these extensions, and those without any that begin like a picture."""

_TABLES = (".csv", ".tsv")
_FIRST_BYTES = 32
_HIDDEN, _HIDDEN_FOLDERS, _LINKED_FOLDERS = "hidden", "hidden folders", "linked folders"
_FOLDERS, _NO_ENDING = "folders", "without an ending"
_PATTERN = frozenset("*?[")
ReadUri = Callable[[str], Iterator[Canvas | Broken]]
"""Yields the pictures of a IIIF URI."""

_NUMBER = "objectnumber"
_PICTURES = ("url", "file", "image")
"""The column with the picture's location: whichever there is; each may hold URLs and file names."""

_MOST_OF_A_HEADER = 65_536
_BLANK_ROWS = "blank rows"
_NO_PICTURE = Failure("no_picture", "The table names no picture for this object number.")
_NAMES_A_PICTURE = re.compile(r"(?:https?|file):\S+|.+\.[a-z][a-z0-9]{1,4}", re.IGNORECASE)
"""Matches a picture's cell in most tables, and no prose between two separators."""

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def items_of(
    source: str, read_uri: ReadUri, passed: "Counter[str] | None" = None, encoding: str | None = None
) -> Iterator[Item]:
    """Yield the items of a source, in an order that depends on its contents alone.

    passed:   counts what is skipped, by extension or kind
    encoding: of a table without a byte order mark
    Raises JobError if there are none, and what read_uri raises.
    """
    passed = Counter() if passed is None else passed
    if source.lower().startswith(("http://", "https://")):
        yield from map(_of_canvas, read_uri(source))
    elif os.path.isdir(source):  # noqa: PTH112  # Path.is_dir() raises where a folder may not be entered
        yield from _in_folder(source, passed)
    elif _is_table(source, encoding):
        yield from rows_of(Path(source), passed, encoding)
    elif _PATTERN.intersection(source) and not _exists(source):
        yield from _matching(source, passed)
    elif _exists(source):
        yield _of_file(source)
    else:
        raise JobError(f"There is no {as_text(source)}: a source is a folder, a file, a pattern or a IIIF URI.")


def _exists(path: str) -> bool:
    return os.path.lexists(path)


def _is_table(path: str, encoding: str | None) -> bool:
    ending = _ending(path)
    if ending in _TABLES:
        return _exists(path)
    return ending not in EXTENSIONS and _is_file(path) and is_table(Path(path), encoding)


def _in_folder(folder: str, passed: "Counter[str]") -> Iterator[Item]:
    """Yield the pictures in a folder and its subfolders, sorted by path, without hidden ones."""
    unreadable: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=unreadable.append):
        passed[_HIDDEN_FOLDERS] += sum(name.startswith(".") for name in folders)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        passed[_LINKED_FOLDERS] += sum(os.path.islink(os.path.join(place, name)) for name in folders)  # noqa: PTH114, PTH118  # as above
        for name in sorted(files):
            path = os.path.join(place, name)  # noqa: PTH118  # as above
            other = _no_picture(path)
            if other is None:
                yield _of_file(path)
            else:
                passed[other] += 1
    for error in unreadable:
        why = Failure(UNREADABLE_FILE, f"The folder cannot be read ({error.strerror}).")
        yield Item(as_text(Path(error.filename).name), "file", os.path.abspath(error.filename), failure=why)  # noqa: PTH100


def _no_picture(path: str) -> str | None:
    """Return None for a picture; for any other file, what it is counted as."""
    ending = _ending(path)
    if Path(path).name.startswith("."):
        return _HIDDEN
    if ending in EXTENSIONS:
        return None
    if ending:
        return ending
    return None if _begins_like_a_picture(path) else _NO_ENDING


def _begins_like_a_picture(path: str) -> bool:
    """Return whether a file begins like a supported format, or cannot be read, which then is its failure."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # as above
            return False
        with Path(path).open("rb") as file:
            first = file.read(_FIRST_BYTES)
            return any(each.beginning.match(first) for each in FORMATS)
    except OSError:
        return True


def _ending(path: str) -> str:
    """Return a name's extension in lower case; one without letters or with a blank, as in 1999.7, is none."""
    suffix = as_text(Path(path).suffix).lower()
    return suffix if any(map(str.isalpha, suffix)) and " " not in suffix else ""


def _matching(pattern: str, passed: "Counter[str]") -> Iterator[Item]:
    """Yield the files that match, sorted by path; `**` follows no links, which may be circular."""
    path = Path(pattern)
    named = {part for part in path.parts if part.startswith(".")}
    matching = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    found = []
    for one in matching:
        if any(part.startswith(".") and part not in named for part in one.parts):
            passed[_HIDDEN] += 1
        elif _is_file(str(one)):
            found.append(str(one))
        else:
            passed[_FOLDERS] += 1
    found.sort()
    if not found:
        raise JobError(f"No file matches {as_text(pattern)}.")
    yield from map(_of_file, found)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  # as above
    except OSError:
        return False


def _of_file(path: str) -> Item:
    """Return a file as an item, whose object number is its name without the extension."""
    name = Path(path).name
    return Item(as_text(name.removesuffix(Path(path).suffix) if _ending(path) else name), "file", os.path.abspath(path))  # noqa: PTH100  # as above


def _of_canvas(found: Canvas | Broken) -> Item:
    """Return a canvas as an item, whose object number is its URI: labels such as `1r` are not unique."""
    if isinstance(found, Broken):
        return Item(found.id, "url", found.id, failure=Failure(found.error.code, found.error.detail))
    kind: Kind = "service" if found.is_service or ImageUri.parse(found.image) else "url"
    # The service's own full image leads to the service as well, and still works if the service does not respond.
    own = ImageUri.parse(found.own_image or "")
    place = found.own_image if own and own.base == found.image and not own.own else None
    return Item(found.id or found.image, kind, place or found.image, found.id, found.manifest)


def is_table(path: Path, encoding: str | None = None) -> bool:
    """Return whether a file is such a table, by its first line."""
    try:
        with _rows(path, encoding, _MOST_OF_A_HEADER, errors="replace") as rows:
            return _NUMBER in rows.header and any(name in rows.header for name in _PICTURES)
    except JobError:
        return False


def rows_of(path: Path, passed: "Counter[str] | None" = None, encoding: str | None = None) -> Iterator[Item]:
    """Yield an item for each row of a CSV with a header; file names are relative to the CSV's own folder.

    passed:   counts what is skipped
    encoding: of a file that begins with no byte order mark; else UTF-8
    A row without a picture is an item that fails. Raises JobError, naming file and line.
    """
    with _rows(path, encoding) as rows:
        number, picture = _columns(path, rows.header)
        if any(_reads_as_a_row(line, rows.separator, picture) for line in rows.lines[1:]):
            _refuse(path, 1, "the quote that a field begins with is closed behind other rows")
        for line, cells in rows:
            first, *others = rows.lines
            if others and all(
                any(_reads_as_a_row(each, rows.separator, picture) for each in lines) for lines in ([first], others)
            ):
                begins = line - len(others)
                _refuse(path, begins, f"the quote that a field begins with is closed in line {line}, behind other rows")
            yield _item(path, line, cells[number], cells[picture])
        if passed is not None and rows.passed_over:
            passed[_BLANK_ROWS] += rows.passed_over


@contextmanager
def _rows(path: Path, encoding: str | None, most: int = -1, errors: str = "strict") -> Iterator[CsvRows]:
    """Open a table's rows; if `most` limits the characters read of a line, only the header is valid."""
    try:
        encoding = _encoding(path, encoding)
        with path.open(encoding=encoding, errors=errors, newline="") as file:
            yield CsvRows(iter(partial(file.readline, most), ""), (_NUMBER, *_PICTURES))
    except BrokenCsv as error:
        _refuse(path, error.line, str(error))
    except UnicodeError:
        said = "UTF-8" if encoding == "utf-8-sig" else encoding
        raise JobError(
            f"{path}: this is not {said}; save the file as UTF-8, or say --encoding, such as windows-1252."
        ) from None
    except OSError as error:
        raise JobError(f"{path}: the file cannot be read ({error.strerror}).") from None


def _encoding(path: Path, otherwise: str | None) -> str:
    """Return the encoding of a file's byte order mark, or else the given one."""
    with path.open("rb") as file:
        first = file.read(4)
    if first.startswith(_UTF_16) and first != codecs.BOM_UTF32_LE:
        return "utf-16"
    return "utf-8-sig" if otherwise is None or first.startswith(codecs.BOM_UTF8) else otherwise


def _columns(path: Path, header: list[str]) -> tuple[int, int]:
    """Return the columns of the object number and of the picture."""
    pictures = [name for name in _PICTURES if name in header]
    if _NUMBER not in header or not pictures:
        _refuse(path, 1, "the first line must name the columns object_number and one of url, file and image")
    if len(pictures) > 1:
        _refuse(path, 1, f"the columns {' and '.join(pictures)} both say where a picture is; leave one")
    for name, shown in ((_NUMBER, "object_number"), (pictures[0], pictures[0])):
        if header.count(name) > 1:
            _refuse(path, 1, f"the column {shown} stands there twice; leave one")
    return header.index(_NUMBER), header.index(pictures[0])


def _reads_as_a_row(line: str, separator: str, picture: int) -> bool:
    """Return whether a line within a row would be a row itself, by its cell in the picture's column."""
    cells = line.split(separator)
    return len(cells) > picture and bool(_NAMES_A_PICTURE.fullmatch(cells[picture].strip(' "\r\n')))


def _item(path: Path, line: int, object_number: str, place: str) -> Item:
    if not object_number:
        _refuse(path, line, "the object number is empty")
    if place.lower().startswith("file:"):
        place = _path_of(place)
    if "\0" in object_number + place:
        _refuse(path, line, "there is a NUL character")
    if place.lower().startswith(("http://", "https://")):
        return Item(object_number, "service" if ImageUri.parse(place) else "url", place)
    if not place:
        return Item(object_number, "file", "", failure=_NO_PICTURE)
    return Item(object_number, "file", _as_it_is_spelt(str(path.parent), place))


def _path_of(url: str) -> str:
    """Return the path of a file: URL (RFC 8089); one of another host is returned unchanged, and not found."""
    path = url[len("file:") :]
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            return url
        path = slash + path
    return unquote(path, errors="surrogateescape")


def _as_it_is_spelt(folder: str, place: str) -> str:
    """Return the path of a file that may be spelt as on Windows or macOS or in a URL: backslashes, Unicode forms, %20.

    The literal name takes precedence.
    """
    paths = [os.path.abspath(os.path.join(folder, one)) for one in (place, place.replace("\\", "/"), unquote(place))]  # noqa: PTH100, PTH118  # which leave links alone
    if place.isascii() and not {"\\", "%"}.intersection(
        place
    ):  # as nearly all are; this saves look-ups on network disks
        return paths[0]
    for path in paths:
        spelt = os.sep
        for part in Path(path).parts[1:]:
            forms = (part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part))
            joined = [os.path.join(spelt, form) for form in forms]  # noqa: PTH118  # as above
            spelt = next((each for each in joined if os.path.lexists(each)), joined[0])
        if os.path.lexists(spelt):
            return spelt
    return paths[0]


def _refuse(path: Path, line: int, why: str) -> NoReturn:
    raise JobError(f"{path}, line {line}: {why}.")
