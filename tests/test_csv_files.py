"""CSV as people's programs write it: whatever the dialect, the same rows with their lines, or a line that is broken."""

import io

import pytest

from service.parsing.csv_files import BrokenCsv, CsvRows

KNOWN = ("objectnumber", "file")
ROWS = [["1", "a.png", "Bowl, blue"], ["2", "b.png", ""]]


def rows(text: str) -> tuple[CsvRows, list[list[str]]]:
    read = CsvRows(io.StringIO(text, newline=""), KNOWN)
    return read, [cells for _, cells in read]


@pytest.mark.parametrize(
    ("text", "passed_over"),
    [
        ('object_number,file,title\n1,a.png,"Bowl, blue"\n2,b.png,\n', 0),
        ('object_number,file,title\r1,a.png,"Bowl, blue"\r2,b.png,', 0),
        ("object_number;file;title\r\n1;a.png;Bowl, blue\r\n2;b.png\r\n", 0),
        ("Object Number\tFILE\ttitle\n1\ta.png\tBowl, blue\n2\tb.png\t\n", 0),
        ("objectNumber|file|title\n1|a.png|Bowl, blue\n2|b.png|\n", 0),
        ("sep=;\r\nobject_number;file;title\r\n1;a.png;Bowl, blue\r\n2;b.png;\r\n", 0),
        ('"SEP=;"\r\nobject_number;file;title\r\n1;a.png;Bowl, blue\r\n2;b.png;\r\n', 0),
        ("sep=\t\nobject_number\tfile\ttitle\n1\ta.png\tBowl, blue\n2\tb.png\n", 0),
        ("SEP = ; \r\nobject_number;file;title\r\n1;a.png;Bowl, blue\r\n2;b.png;\r\n", 0),
        ("sep=\\t\nobject_number\tfile\ttitle\n1\ta.png\tBowl, blue\n2\tb.png\n", 0),
        ("sep=~\nobject_number~file~title\n1~a.png~Bowl, blue\n2~b.png\n", 0),
        ('object_number, file, title\n1, a.png, "Bowl, blue"\n2, b.png, ""\n', 0),
        ('"object_number" , "file" ,"title" \r\n"1" , "a.png" , "Bowl, blue" \r\n"2" , "b.png" ,\r\n', 0),
        ('object_number,file,title\n"1"\t,\xa0"a.png",\t"Bowl, blue"\xa0\n\xa0"2" ,b.png,\n', 0),
        ('object_number\tfile\ttitle\n"1" \t "a.png"\t"Bowl, blue"\n2\tb.png\t \n', 0),
        ('object_number,file,title\r\n1,a.png,"Bowl, blue"\r\n2,b.png,\r\n\x1a', 1),
        ('object_number,file,title,,\n1,a.png,"Bowl, blue",,\n2,b.png,,,,,\n', 0),
        ('object_number,file,title\n1,a.png,"Bowl, blue"\n,,\n2,b.png,\n , ,\n\n;;\n'.replace(";;", ",,,,"), 3),
        ('\n,,\nobject_number,file,title\n\n1,a.png,"Bowl, blue"\n2,b.png,\n\n', 1),
        ('object_number,file,title\n="1",a.png,"Bowl, blue"\n"=""2""",b.png,\n', 0),
        ('object_number;file;"title, long, with, commas"\n1;a.png;Bowl, blue\n2;b.png;\n', 0),
    ],
)
def test_dialects_say_the_same(text: str, passed_over: int) -> None:
    read, found = rows(text)
    assert read.header[:2] == list(KNOWN)
    assert [cells[:3] for cells in found] == ROWS
    assert not any("".join(cells[3:]) for cells in found)
    assert read.passed_over == passed_over


def test_quotes_lines_and_blanks_within_quotes_stay() -> None:
    _, found = rows('object_number,file\n"a "" , b","x\ny"\n 5" wide ,c\n')
    assert found == [['a " , b', "x\ny"], ['5" wide', "c"]]
    _, found = rows('object_number,file\n5" wide,c\n"6"" , "" ,\t""8""",""" , a"\n')
    assert found == [['5" wide', "c"], ['6" , " ,\t"8"', '" , a']]


def test_rows_come_with_the_line_of_their_end() -> None:
    read = CsvRows(io.StringIO('sep=,\n\nobject_number,file\n1,"a\nb"\n,\n2,c\n', newline=""), KNOWN)
    assert [(line, cells[0]) for line, cells in read] == [(5, "1"), (7, "2")]


def test_field_of_a_million_characters_is_read() -> None:
    assert len(rows("object_number,file,title\n1,a.png," + "x" * 1_000_000)[1][0][2]) == 1_000_000


@pytest.mark.parametrize("text", ["", "\n\n", ",,\n"])
def test_nothing_has_no_header(text: str) -> None:
    assert rows(text)[0].header == []


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("object_number,file\n1,a.png\n2,b.png,c\n", 3, "more fields"),
        ("sep=;\nobject_number;file\n1;a.png;x\n", 3, "more fields"),
        ('object_number,file\n1,"a.png\n', 2, "the quote that a field begins with is not closed"),
        ('sep=,\nobject_number,file\n"1\n1",""\n"2 ""\n\n"" 2","a.png\n3,b.png\n', 7, "is not closed"),
        ('object_number,file\n1,"a.png\n2,b.png\n3,"c.png"\n', 4, "or the quote .* in line 2 is not closed"),
        ('object_number,file\n1,"12"" ""\n""2"",b.png\n3,"c.png"\n', 4, "or the quote .* in line 2 is not closed"),
        ('object_number,file\n1,"a" and b\n', 2, "expected after"),
        ('object_number,file\n1,"a" "b"\n', 2, "expected after"),
        ("object_number,file\n1," + "x" * (16 * 1024 * 1024 + 1), 2, "field limit"),
    ],
)
def test_what_is_broken_is_broken_in_a_line(text: str, line: int, why: str) -> None:
    with pytest.raises(BrokenCsv, match=why) as raised:
        rows(text)
    assert raised.value.line == line
