"""A CSV of object numbers and places of pictures -> items, or a sentence that names the line."""

from pathlib import Path

import pytest

from service.bulk.items import Failure, Item
from service.bulk.table import rows_of
from service.errors import InvalidRequest


def rows(path: Path, text: str | bytes) -> list[Item]:
    table = path / "table.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(rows_of(table))


@pytest.mark.parametrize(
    "text",
    [
        "object_number,file\n1999.7,a.jpg\n2000.1,sub/b.jpg\n",
        "\ufeffObject Number;title;IMAGE\r\n1999.7;Two; a.jpg \r\n2000.1;;sub/b.jpg\r\n",
        'file\tobject_number\n"a.jpg"\t1999.7\nsub/b.jpg\t 2000.1\n',
    ],
)
def test_files_are_relative_to_the_table(tmp_path: Path, text: str) -> None:
    assert rows(tmp_path, text) == [
        Item("1999.7", "file", str(tmp_path / "a.jpg")),
        Item("2000.1", "file", str(tmp_path / "sub" / "b.jpg")),
    ]


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("http://a.example/x.jpg", "url"),
        ("HTTPS://a.example/x.jpg?full", "url"),
        ("https://a.example/iiif/3/x/info.json", "service"),
        ("https://a.example/iiif/3/x/full/max/0/default.jpg", "service"),
        ("/mnt/scans/a.jpg", "file"),
    ],
)
def test_kind_of_a_place(tmp_path: Path, place: str, kind: str) -> None:
    assert rows(tmp_path, f"object_number,image\n7,{place}\n") == [Item("7", kind, place)]  # type: ignore[arg-type]


def test_row_without_a_picture_is_an_item_that_fails(tmp_path: Path) -> None:
    [item] = rows(tmp_path, "object_number,url\n7,\n\n")
    assert item.failure == Failure("no_picture", "The table names no picture for this object number.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: the first line must name"),
        ("number,url\n", "line 1: the first line must name"),
        ("object_number\n7\n", "line 1: the first line must name"),
        ("object_number,url,file\n7,,\n", "line 1: the columns url and file both say"),
        ("object_number,url\n7,a.jpg\n8,b.jpg,c\n", "line 3: there are more fields"),
        ("object_number,url\n ,a.jpg\n", "line 2: the object number is empty"),
        ('object_number,url\n7,"a.jpg\n', "line 2: unexpected end of data"),
        ("object_number,url\n7,a\0.jpg\n", "line 2: "),
        (b"object_number,url\n7,caf\xe9.jpg\n", "this is not UTF-8"),
        ("object_number,url\n7," + "a" * 200_000, "line 2: field larger than"),
    ],
)
def test_table_that_cannot_be_read(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        rows(tmp_path, text)
