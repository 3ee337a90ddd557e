"""A CSV of object numbers and where their pictures are -> items."""

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from service.bulk.items import Failure, Item
from service.errors import InvalidRequest
from service.iiif.image_api import ImageUri

_NUMBER = "object_number"
_PICTURES = ("url", "file", "image")
"""The column that says where a picture is, whichever there is; each may have addresses and file names."""

_SEPARATORS = ",;\t"
_NO_PICTURE = Failure("no_picture", "The table names no picture for this object number.")


def rows_of(path: Path) -> Iterator[Item]:
    """Yield an item for each row of a UTF-8 CSV with a header; file names are relative to the CSV's own folder.

    A row without a picture is an item that fails. Raises InvalidRequest, naming file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = _separator(file.readline())
            file.seek(0)
            reader = csv.DictReader(file, delimiter=separator, strict=True)
            try:
                names = {_folded(name): name for name in reader.fieldnames or ()}
                column = _column_of_pictures(path, names)
                for row in reader:
                    yield _item(path, reader.line_num, row, names[_NUMBER], column)
            except csv.Error as error:
                _refuse(path, reader.reader.line_num, f"{error}")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path}: this is not UTF-8; save the file as UTF-8.") from None
    except OSError as error:
        raise InvalidRequest(f"{path}: the file cannot be read ({error.strerror}).") from None


def _separator(header: str) -> str:
    return max(_SEPARATORS, key=header.count)


def _folded(name: str) -> str:
    return "_".join(name.lower().split())


def _column_of_pictures(path: Path, names: Mapping[str, str]) -> str:
    pictures = [names[name] for name in _PICTURES if name in names]
    if _NUMBER not in names or not pictures:
        _refuse(path, 1, "the first line must name the columns object_number and one of url, file and image")
    if len(pictures) > 1:
        _refuse(path, 1, f"the columns {' and '.join(pictures)} both say where a picture is; leave one")
    return pictures[0]


def _item(path: Path, line: int, row: Mapping[str | None, str | list[str] | None], number: str, column: str) -> Item:
    if None in row:
        _refuse(path, line, "there are more fields than in the first line")
    object_number, place = (str(row[name] or "").strip() for name in (number, column))
    if not object_number:
        _refuse(path, line, "the object number is empty")
    if "\0" in object_number + place:
        _refuse(path, line, "there is a NUL character")
    if place.lower().startswith(("http://", "https://")):
        return Item(object_number, "service" if ImageUri.parse(place) else "url", place)
    if not place:
        return Item(object_number, "file", "", failure=_NO_PICTURE)
    return Item(object_number, "file", os.path.abspath(path.parent / place))  # noqa: PTH100  # which leaves links alone


def _refuse(path: Path, line: int, why: str) -> NoReturn:
    raise InvalidRequest(f"{path}, line {line}: {why}.")
