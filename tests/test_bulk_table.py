"""A CSV of object numbers and places of pictures -> items, or a sentence that names the line."""

from collections import Counter
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest

from service.bulk.items import Failure, Item
from service.bulk.sources import rows_of
from service.errors import JobError


def rows(path: Path, text: str | bytes) -> list[Item]:
    table = path / "table.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(rows_of(table))


@pytest.mark.parametrize(
    "text",
    [
        "object_number,file\n1999.7,a.jpg\n2000.1,sub/b.jpg\n",
        "object_number,file\r\n1999.7,.\\a.jpg\r\n2000.1,sub\\b.jpg\r\n",
        "object_number,file\n1999.7,%61.jpg\n2000.1,sub%2Fb.jpg\n",
        "object_number,file\n1999.7,file:a.jpg\n2000.1,file:sub/%62.jpg\n",
        "sep=;\r\nobject_number;file\r\n1999.7;a.jpg\r\n;\r\n2000.1;sub/b.jpg;\r\n",
        "object_number,file\n1999.7,a.jpg\n2000.1,sub/b.jpg\n".encode("utf-16"),
        "object_number\tfile\r\n1999.7\ta.jpg\r\n2000.1\tsub/b.jpg".encode("utf-16-be").join([b"\xfe\xff", b""]),
        "\ufeffObject Number;title;IMAGE\r\n1999.7;Two; a.jpg \r\n2000.1;;sub/b.jpg\r\n",
        'file\tobject_number\n"a.jpg"\t1999.7\nsub/b.jpg\t 2000.1\n',
    ],
)
def test_files_are_relative_to_the_table(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.jpg", "sub/b.jpg"):
        (tmp_path / name).touch()
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
        ("http://a.example/bilder/Öl auf Holz/größe 1.png", "url"),
        ("https://a.example/iiif/3/Öl auf Holz/info.json", "service"),
        ("/mnt/scans/a.jpg", "file"),
    ],
)
def test_kind_of_a_place(tmp_path: Path, place: str, kind: str) -> None:
    assert rows(tmp_path, f"object_number,image\n7,{place}\n") == [Item("7", kind, place)]  # type: ignore[arg-type]


@pytest.mark.parametrize("blanks", ["  {} ", '" {}\t"', "\N{NO-BREAK SPACE}{}"])
def test_url_with_blanks_around_it(tmp_path: Path, blanks: str) -> None:
    [item] = rows(tmp_path, f"object_number,url\n7,{blanks.format('HTTP://a.example/x 1.jpg')}\n")
    assert (item.kind, item.place) == ("url", "HTTP://a.example/x 1.jpg")


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("file://{}/größe%201%23.png", "größe 1#.png"),
        ("FILE://localhost{}/größe 1%23.png", "größe 1#.png"),
        ("file:{}/sub/../größe%201%23.png", "größe 1#.png"),
    ],
)
def test_file_url(tmp_path: Path, place: str, path: str) -> None:
    (tmp_path / path).touch()
    [item] = rows(tmp_path, f"object_number,url\n7,{place.format(tmp_path)}\n")
    assert item == Item("7", "file", str(tmp_path / path))


def test_file_of_another_machine_is_none_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    [item] = rows(tmp_path, f"object_number,url\n7,file://elsewhere.example{tmp_path}/a.png\n")
    assert not Path(item.place).exists()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_name_in_the_other_normal_form_is_found(tmp_path: Path, form: Literal["NFC", "NFD"]) -> None:
    other: Literal["NFC", "NFD"] = "NFD" if form == "NFC" else "NFC"
    there = tmp_path / normalize(form, "Öl") / normalize(other, "größe.png")
    there.parent.mkdir()
    there.touch()
    for spelt in (normalize("NFC", "Öl/größe.png"), normalize("NFD", "Öl\\größe.png")):
        assert rows(tmp_path, f"object_number,file\n7,{spelt}\n") == [Item("7", "file", str(there))]


def test_name_as_it_stands_comes_before_any_other_spelling(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for name in ("img\\a.png", "img/a.png", "b%20.png", "b .png", normalize("NFC", "ö"), normalize("NFD", "ö")):
        (tmp_path / name).touch()
    for name in ("img\\a.png", "b%20.png", normalize("NFC", "ö"), normalize("NFD", "ö")):
        assert rows(tmp_path, f"object_number,file\n7,{name}\n") == [Item("7", "file", str(tmp_path / name))]


def test_blank_rows_are_counted(tmp_path: Path) -> None:
    table, passed = tmp_path / "table.csv", Counter[str]()
    table.write_text("object_number,file,title\r\n1,a.png,Bowl\r\n,,\r\n2,b.png,Jug\r\n,,\r\n")
    assert [item.object_number for item in rows_of(table, passed)] == ["1", "2"]
    assert passed == {"blank rows": 2}


def test_text_that_looks_like_a_number_keeps_its_zeros(tmp_path: Path) -> None:
    [item] = rows(tmp_path, 'object_number,file\n="0012",a.png\n')
    assert item.object_number == "0012"


def test_encoding_that_is_said_is_taken_but_for_a_byte_order_mark(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    for contents in ("Öl".encode("windows-1252"), "Öl".encode()):
        mark = b"" if contents == b"\xd6l" else b"\xef\xbb\xbf"
        table.write_bytes(mark + b"object_number,file\n" + contents + b",a.png\n")
        assert [item.object_number for item in rows_of(table, None, "cp1252")] == ["Öl"]
    table.write_bytes(b"object_number,file\n\xd6l,a.png\n")
    with pytest.raises(JobError, match="this is not UTF-8; save the file as UTF-8, or say --encoding"):
        list(rows_of(table))
    with pytest.raises(JobError, match="this is not utf-16"):
        list(rows_of(table, None, "utf-16"))


@pytest.mark.parametrize(
    "text",
    [
        'object_number,file,title\n7,a.jpg,"Bowl, blue\nwith flowers, birds, a rim 12"" wide"\n8,b.jpg,\n',
        'object_number,title,file\n7,"Bowl, blue\nwith flowers, birds",a.jpg\n8,"Jug\n\nred",b.jpg\n',
        '"Object\nnumber","title, or\nwhat, is there",file\n7,"Bowl\n",a.jpg\n"8",,b.jpg\n',
    ],
)
def test_text_over_several_lines_is_read(tmp_path: Path, text: str) -> None:
    assert [(item.object_number, Path(item.place).name) for item in rows(tmp_path, text)] == [
        ("7", "a.jpg"),
        ("8", "b.jpg"),
    ]


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
        ('object_number,url\n7,"a.jpg\n8,b.jpg\n', "line 2: the quote that a field begins with is not closed"),
        ('object_number,url,title\n7,a.jpg,"12\n8,b.jpg,13"\n9,c.jpg,\n', "line 2: .* closed in line 3, behind other"),
        (
            'object_number,title,url\n7,"12 tall,HTTP://a/1\n8,13",http://a/2\n',
            "line 2: .* closed in line 3, behind other",
        ),
        (
            'title;object_number;file\n"12;7;a.tif\nx;8;b.tif\n;9;c.tif\n13";9;d.jpeg\n',
            "line 2: .* line 5, behind other",
        ),
        ('object_number,url,"title\n7,a.jpg,13"\n8,b.jpg,\n', "line 1: .* closed behind other rows"),
        ("object_number,url\n7,a\0.jpg\n", "line 2: "),
        (b"object_number,url\n7,caf\xe9.jpg\n", "this is not UTF-8"),
        ("object_number,url,Object Number\n7,a.jpg,8\n", "line 1: the column object_number stands there twice"),
        ("object_number,url,url\n7,a.jpg,b.jpg\n", "line 1: the column url stands there twice"),
        ("object_number,url\n7,file:///a%00.jpg\n", "line 2: there is a NUL"),
        (",,\nobject_number,url\n7,a.jpg,b\n", "line 3: there are more fields"),
        ("object_number,url\n7,a.jpg\n".encode("utf-16-le"), "line 1: there is a NUL character, as in UTF-16"),
    ],
)
def test_table_that_cannot_be_read(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(JobError, match=told):
        rows(tmp_path, text)
