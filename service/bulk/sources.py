"""What a job was given -> the pictures that it means: folders, patterns, files, tables, and IIIF documents."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from service.bulk.items import Failure, Item, Kind
from service.bulk.reading import UNREADABLE_FILE
from service.bulk.table import is_table, rows_of
from service.errors import InvalidRequest
from service.iiif.image_api import ImageUri
from service.iiif.presentation import Broken, Canvas
from service.images.decode import FORMATS

EXTENSIONS = frozenset(extension for each in FORMATS for extension in each.extensions)
"""Of the files that a folder has, those with these are its pictures, and those without any that begin like one."""

_TABLES = (".csv", ".tsv")
_FIRST_BYTES = 32
_HIDDEN, _HIDDEN_FOLDERS, _LINKED_FOLDERS = "hidden", "hidden folders", "linked folders"
_FOLDERS, _NO_ENDING = "folders", "without an ending"
_PATTERN = frozenset("*?[")
ReadUri = Callable[[str], Iterator[Canvas | Broken]]
"""Yields the pictures that a IIIF URI leads to."""


def items_of(
    source: str, read_uri: ReadUri, passed: "Counter[str] | None" = None, encoding: str | None = None
) -> Iterator[Item]:
    """Yield what a source means, in an order that depends on nothing but its contents.

    passed:   counts what is passed over, by ending or by what it is
    encoding: of a table that does not say it itself
    Raises InvalidRequest where it means nothing, and what read_uri does.
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
        raise InvalidRequest(f"There is no {shown(source)}: a source is a folder, a file, a pattern or a IIIF URI.")


def shown(path: str) -> str:
    """Return a path as text: a file's name may be of any encoding."""
    return os.fsencode(path).decode("utf-8", "replace")


def _exists(path: str) -> bool:
    return os.path.lexists(path)


def _is_table(path: str, encoding: str | None) -> bool:
    ending = _ending(path)
    if ending in _TABLES:
        return _exists(path)
    return ending not in EXTENSIONS and _is_file(path) and is_table(Path(path), encoding)


def _in_folder(folder: str, passed: "Counter[str]") -> Iterator[Item]:
    """Yield the pictures in a folder and the folders in it, by their paths; what begins with a dot is hidden."""
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
        yield Item(shown(Path(error.filename).name), "file", os.path.abspath(error.filename), failure=why)  # noqa: PTH100


def _no_picture(path: str) -> str | None:
    """Return None of a picture of a folder, and of any other file what it is counted as."""
    ending = _ending(path)
    if Path(path).name.startswith("."):
        return _HIDDEN
    if ending in EXTENSIONS:
        return None
    if ending:
        return ending
    return None if _begins_like_a_picture(path) else _NO_ENDING


def _begins_like_a_picture(path: str) -> bool:
    """Say whether a file's first bytes are those of a format that is read; one that cannot be read is looked at."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # as above
            return False
        with Path(path).open("rb") as file:
            first = file.read(_FIRST_BYTES)
            return any(each.beginning.match(first) for each in FORMATS)
    except OSError:
        return True


def _ending(path: str) -> str:
    """Return the ending of a name in lower case; what has no letter or has a blank, as in 1999.7, is none."""
    suffix = shown(Path(path).suffix).lower()
    return suffix if any(map(str.isalpha, suffix)) and " " not in suffix else ""


def _matching(pattern: str, passed: "Counter[str]") -> Iterator[Item]:
    """Yield the files that match, by their paths; `**` goes into no linked folder, which may lead round in a ring."""
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
        raise InvalidRequest(f"No file matches {shown(pattern)}.")
    yield from map(_of_file, found)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  # as above
    except OSError:
        return False


def _of_file(path: str) -> Item:
    """Return a file as an item: its name without the ending is all that is known of what it shows."""
    name = Path(path).name
    return Item(shown(name.removesuffix(Path(path).suffix) if _ending(path) else name), "file", os.path.abspath(path))  # noqa: PTH100  # as above


def _of_canvas(found: Canvas | Broken) -> Item:
    """Return a canvas as an item: labels such as `1r` are many, so that its URI stands for an object number."""
    if isinstance(found, Broken):
        return Item(found.id, "url", found.id, failure=Failure(found.error.code, found.error.detail))
    kind: Kind = "service" if found.is_service or ImageUri.parse(found.image) else "url"
    # A picture of the service's own leads to the service as well, and is there where the service does not answer.
    own = ImageUri.parse(found.own_image or "")
    place = found.own_image if own and own.base == found.image and not own.own else None
    return Item(found.id or found.image, kind, place or found.image, found.id, found.manifest)
