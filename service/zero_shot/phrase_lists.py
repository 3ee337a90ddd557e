"""lists/ -> PhraseList(name, labels, template, uris, hash).

A folder of lists has one file a list, named after it, and optionally a `lists.toml` with details. A file is either CSV
with the header `label,uri`, of which the second column is optional, or plain text with one label a line.
"""

import hashlib
import io
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from service.errors import InvalidList
from service.parsing.csv_files import BrokenCsv, CsvRows

OWN_LIST = "phrases"
"""The name of phrases that are sent without one; no served list may have it."""

LIST_NAME = re.compile(r"[a-z0-9_-]{1,64}")
MAX_PHRASE_CHARACTERS = 1_000
MAX_FILE_BYTES = 64 * 1024 * 1024
_COLUMNS = ("label", "uri")
_DETAILS = ("title", "description", "template", "source", "licence")
_URI = re.compile(r"(https?://[^\s/?#]+|urn:[^\s:]+:)\S*")


@dataclass(frozen=True)
class PhraseList:
    """A named, ordered set of labels with one template, and an authority URI or None for each label."""

    name: str
    labels: tuple[str, ...]
    uris: tuple[str | None, ...]
    title: str = ""
    description: str = ""
    template: str = "{}"
    source: str = ""
    licence: str = ""

    @cached_property
    def phrases(self) -> tuple[str, ...]:
        """The template with each label in it, in order."""
        return tuple(self.template.replace("{}", label) for label in self.labels)

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, of all that answers depend on: template, labels and URIs in order."""
        contents = json.dumps([self.template, self.labels, self.uris], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(contents.encode()).hexdigest()


def own_list(name: str, labels: tuple[str, ...], template: str) -> PhraseList:
    """Return a list that came with a request."""
    return PhraseList(name, labels, (None,) * len(labels), title=name, template=template)


def built_in_folder() -> Path:
    """Return the folder of the lists that come with Gaze: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "lists"
    return installed if installed.is_dir() else package.parent / "lists"


def read_lists(*folders: Path) -> dict[str, PhraseList]:
    """Return the lists of all folders by name: folder by folder, in the order of lists.toml and then of the names.

    Raises InvalidList, naming file and line, if a file is broken or two files make a list of the same name.
    """
    lists: dict[str, PhraseList] = {}
    made_by: dict[str, Path] = {}
    for folder in folders:
        for file, phrase_list in _lists_in(folder):
            if phrase_list.name in lists:
                raise InvalidList(
                    f"{file}, line 1: the list name '{phrase_list.name}' is taken by {made_by[phrase_list.name]}; "
                    "rename the file."
                )
            lists[phrase_list.name] = phrase_list
            made_by[phrase_list.name] = file
    return lists


def _lists_in(folder: Path) -> Iterator[tuple[Path, PhraseList]]:
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidList(f"{folder}: there is no such folder of lists.") from None
    except OSError as error:
        raise InvalidList(f"{folder}: the folder of lists cannot be read ({error.strerror}).") from None
    details = _read_details(folder / "lists.toml")
    files = [entry for entry in entries if not entry.name.startswith(".") and entry.name != "lists.toml"]
    order = list(details)
    files.sort(key=lambda file: order.index(file.stem) if file.stem in details else len(order))
    for name in details:
        if name not in {file.stem for file in files}:
            raise InvalidList(
                f"{_place(folder / 'lists.toml', name)}: [{name}] has no file {name}.csv or {name}.txt beside it."
            )
    for file in files:
        yield file, _read_list(file, details.get(file.stem, {}))


def _read_details(file: Path) -> dict[str, dict[str, str]]:
    if not file.exists():
        return {}
    try:
        details: dict[str, Any] = tomllib.loads(_read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise InvalidList(f"{file}: {error}.") from None
    for name, about in details.items():
        if not isinstance(about, dict) or any(
            key not in _DETAILS or not isinstance(value, str) for key, value in about.items()
        ):
            raise InvalidList(
                f"{_place(file, name)}: [{name}] may have {', '.join(_DETAILS)}, each a string, and nothing else."
            )
        if about.get("template", "{}").count("{}") != 1:
            raise InvalidList(f"{_place(file, name)}: the template of [{name}] must contain {{}} once.")
    return details


def _place(file: Path, name: str) -> str:
    """Return the file and the line where a list's table begins, or the key in its place."""
    begins = re.compile(rf"""\s*\[?\s*["']?{re.escape(name)}["']?\s*[\].=]""")
    lines = _read_text(file).split("\n")
    return f"{file}, line {next((number for number, line in enumerate(lines, start=1) if begins.match(line)), 1)}"


def _read_list(file: Path, details: dict[str, str]) -> PhraseList:
    if file.suffix not in (".csv", ".txt") or not file.is_file():
        raise InvalidList(f"{file}: a list is a file that ends in .csv or .txt; move this elsewhere.")
    if not LIST_NAME.fullmatch(file.stem):
        raise InvalidList(
            f"{file}: the file's name is the list's name, and takes 1 to 64 of the characters a-z, 0-9, _ and -."
        )
    if file.stem == OWN_LIST:
        raise InvalidList(f"{file}: the name '{OWN_LIST}' is kept for phrases that callers send; rename the file.")
    text = _read_text(file)
    rows = _csv_rows if file.suffix == ".csv" or _begins_like_a_csv(text) else _text_rows
    labels: dict[str, int] = {}
    uris: list[str | None] = []
    for line, label, uri in rows(file, text):
        if not label:
            raise InvalidList(f"{file}, line {line}: the label is empty.")
        if len(label) > MAX_PHRASE_CHARACTERS:
            raise InvalidList(f"{file}, line {line}: the label has more than {MAX_PHRASE_CHARACTERS} characters.")
        if "\n" in label:
            # For example after a quote that is closed only in a later row.
            begins = line - label.count("\n")
            raise InvalidList(f"{file}, line {begins}: the label has a line break; close its quote, or take it out.")
        if "\0" in label:
            raise InvalidList(f"{file}, line {line}: the label contains a NUL character.")
        if label in labels:
            raise InvalidList(f"{file}, line {line}: the label stands in line {labels[label]} already.")
        if uri and not _is_uri(uri):
            raise InvalidList(f"{file}, line {line}: the URI must start with http://, https:// or urn:, and be valid.")
        labels[label] = line
        uris.append(uri or None)
    if not labels:
        raise InvalidList(f"{file}, line 1: the list has no label.")
    return PhraseList(file.stem, tuple(labels), tuple(uris), **{"title": file.stem.replace("_", " "), **details})


def _is_uri(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:  # for example an invalid IPv6 address
        return False
    return bool(_URI.fullmatch(text))


def _read_text(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise InvalidList(f"{file}: the file has more than {MAX_FILE_BYTES} bytes.")
        return file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InvalidList(f"{file}, line {line}: this is not UTF-8; save the file as UTF-8.") from None
    except OSError as error:
        raise InvalidList(f"{file}: the file cannot be read ({error.strerror}).") from None


def _csv_rows(file: Path, text: str) -> Iterator[tuple[int, str, str]]:
    try:
        rows = CsvRows(io.StringIO(text, newline=""), _COLUMNS)
        while rows.header and not rows.header[-1]:  # surplus separators
            rows.header.pop()
        if rows.header not in (["label"], ["label", "uri"], ["uri", "label"]):
            raise InvalidList(f"{file}, line 1: the first line must be 'label,uri' or 'label'.")
        for line, cells in rows:
            named = dict(zip(rows.header, cells, strict=True))
            yield line, named["label"], named.get("uri", "")
    except BrokenCsv as error:
        hint = "; put a label that has a comma in double quotes" if "more fields" in str(error) else ""
        raise InvalidList(f"{file}, line {error.line}: {error}{hint}.") from None


def _begins_like_a_csv(text: str) -> bool:
    """Return whether the first line is the header of a CSV, which would be an odd phrase."""
    try:
        return set(_COLUMNS).issubset(CsvRows(io.StringIO(text, newline=""), _COLUMNS).header)
    except BrokenCsv:
        return False


def _text_rows(_file: Path, text: str) -> Iterator[tuple[int, str, str]]:
    for line, label in enumerate(text.split("\n"), start=1):
        if label := label.strip().strip("\x1a"):
            yield line, label, ""
