"""What a job was given -> the pictures that it means: folders, patterns, files, tables, and IIIF documents."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from service.bulk.items import Failure, Item, Kind
from service.bulk.reading import UNREADABLE_FILE
from service.bulk.table import rows_of
from service.errors import InvalidRequest
from service.iiif.image_api import ImageUri
from service.iiif.presentation import Broken, Canvas

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
_HEIF = (".heic", ".heif", ".hif")
_JPEG_2000 = (".jp2", ".j2k", ".j2c", ".jpx", ".jpc", ".jpf")
ENDINGS = frozenset((*_JPEG, ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", *_HEIF, *_JPEG_2000))
"""Of the files that a folder has, those with these are its pictures."""

_PATTERN = frozenset("*?[")
ReadUri = Callable[[str], Iterator[Canvas | Broken]]
"""Yields the pictures that a IIIF URI leads to."""


def items_of(source: str, read_uri: ReadUri) -> Iterator[Item]:
    """Yield what a source means, in an order that depends on nothing but its contents.

    Raises InvalidRequest where it means nothing, and what read_uri does.
    """
    if source.lower().startswith(("http://", "https://")):
        yield from map(_of_canvas, read_uri(source))
    elif os.path.isdir(source):  # noqa: PTH112  # Path.is_dir() raises where a folder may not be entered
        yield from _in_folder(source)
    elif Path(source).suffix.lower() == ".csv" and _exists(source):
        yield from rows_of(Path(source))
    elif _PATTERN.intersection(source) and not _exists(source):
        yield from _matching(source)
    elif _exists(source):
        yield _of_file(source)
    else:
        raise InvalidRequest(f"There is no {shown(source)}: a source is a folder, a file, a pattern or a IIIF URI.")


def shown(path: str) -> str:
    """Return a path as text: a file's name may be of any encoding."""
    return os.fsencode(path).decode("utf-8", "replace")


def _exists(path: str) -> bool:
    return os.path.lexists(path)


def _in_folder(folder: str) -> Iterator[Item]:
    """Yield the pictures in a folder and the folders in it, by their paths; what begins with a dot is hidden."""
    unreadable: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        pictures = (name for name in sorted(files) if not name.startswith(".") and Path(name).suffix.lower() in ENDINGS)
        yield from (_of_file(os.path.join(place, name)) for name in pictures)  # noqa: PTH118  # as above
    for error in unreadable:
        why = Failure(UNREADABLE_FILE, f"The folder cannot be read ({error.strerror}).")
        yield Item(shown(Path(error.filename).name), "file", os.path.abspath(error.filename), failure=why)  # noqa: PTH100


def _matching(pattern: str) -> Iterator[Item]:
    """Yield the files that match, by their paths; `**` goes into no linked folder, which may lead round in a ring."""
    path = Path(pattern)
    named = {part for part in path.parts if part.startswith(".")}
    matching = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    found = sorted(
        str(one)
        for one in matching
        if not any(part.startswith(".") and part not in named for part in one.parts) and _is_file(str(one))
    )
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
    return Item(shown(Path(path).stem), "file", os.path.abspath(path))  # noqa: PTH100  # as above


def _of_canvas(found: Canvas | Broken) -> Item:
    """Return a canvas as an item: labels such as `1r` are many, so that its URI stands for an object number."""
    if isinstance(found, Broken):
        return Item(found.id, "url", found.id, failure=Failure(found.error.code, found.error.detail))
    kind: Kind = "service" if found.is_service or ImageUri.parse(found.image) else "url"
    return Item(found.id or found.image, kind, found.image, found.id, found.manifest)
