"""Sources -> items: which pictures they mean, in which order, and what stands for an object number."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.bulk.items import Failure, Item
from service.bulk.sources import items_of
from service.errors import ImageFetchFailed, JobError
from service.iiif.presentation import Broken, Canvas
from tests.conftest import encoded, noise

FULL = "http://a/iiif/x/full/max/0/default.jpg"


def no_iiif(_uri: str) -> Iterator[Canvas | Broken]:
    raise AssertionError("nothing here is a URI")


def found(source: str | Path) -> list[Item]:
    return list(items_of(str(source), no_iiif))


def names(source: str | Path) -> list[str]:
    return [Path(item.place).name for item in found(source)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as museums have them."""
    for name in (
        "b.JPG",
        "a.tif",
        "notes.txt",
        ".hidden.jpg",
        "Thumbs.db",
        "z/1.png",
        "z/2.jp2",
        ".git/x.png",
        "c.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folder_has_its_pictures_and_those_of_its_folders_sorted(folder: Path) -> None:
    assert names(folder) == ["a.tif", "b.JPG", "1.png", "2.jp2"]
    assert found(folder)[2] == Item("1", "file", str(folder / "z" / "1.png"))


def test_what_a_folder_has_besides_is_counted(folder: Path, tmp_path: Path) -> None:
    passed = Counter[str]()
    for name in ("a.dng", "A.DNG", "b.xmp", ".DS_Store", "z/.b.jpg", "README", "z/empty"):
        (folder / name).touch()
    (folder / "linked").symlink_to(folder / "z")
    assert len(list(items_of(str(folder), no_iiif, passed))) == 4
    assert {kind: count for kind, count in passed.items() if count} == {
        ".csv": 1,
        ".db": 1,
        ".dng": 2,
        ".txt": 1,
        ".xmp": 1,
        "hidden": 3,
        "hidden folders": 1,
        "linked folders": 1,
        "without an ending": 2,
    }
    assert passed.total() == sum(1 for path in folder.rglob("*") if path.is_file()) - 4 - 1 + 1 + 1


@pytest.mark.parametrize("ending", ["MPO", "jpe", "jfif", "jif", "dib", "avif", "j2k", "jp2", "tiff", "ptif", "apng"])
def test_endings_of_what_is_read_are_pictures(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"7.{ending}").touch()
    assert found(tmp_path) == [Item("7", "file", str(tmp_path / f"7.{ending}"))]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "AVIF", "JPEG2000"])
def test_file_without_an_ending_is_a_picture_if_it_begins_like_one(tmp_path: Path, file_format: str) -> None:
    for name in ("scan", "1999.7", "St. Anna im Wald"):
        (tmp_path / name).write_bytes(encoded(noise(20, 20), file_format))
    (tmp_path / "1999.8").write_text("no picture")
    assert [item.object_number for item in found(tmp_path)] == ["1999.7", "St. Anna im Wald", "scan"]


def test_what_cannot_be_opened_or_may_wait_for_ever(tmp_path: Path) -> None:
    passed = Counter[str]()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    assert [item.object_number for item in items_of(str(tmp_path), no_iiif, passed)] == ["dangling"]
    assert passed["without an ending"] == 1


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.tsv", "t.txt", "t.tab", "t", "t.dat"])
def test_table_is_told_by_its_ending_or_its_first_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Object number\tFile\n1999.7\ta.png\n")
    assert found(tmp_path / name) == [Item("1999.7", "file", str(tmp_path / "a.png"))]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_table_without_its_columns_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("number\tpicture\n1999.7\ta.png\n")
    with pytest.raises(JobError, match="line 1: the first line must name"):
        found(tmp_path / name)


def test_table_of_another_encoding_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("object_number,file\nÖl,größe.png\n".encode("cp1252"))
    with pytest.raises(JobError, match="this is not UTF-8"):
        found(tmp_path / "t.txt")


def test_text_on_one_endless_line_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("object_number,file," * 100_000)
    (tmp_path / "u.txt").write_text("a" * 1_000_000 + ",object_number,file\n")
    assert [item.object_number for item in found(tmp_path / "u.txt")] == ["u"]


def test_folder_with_a_ring_of_links_ends(folder: Path) -> None:
    (folder / "z" / "again").symlink_to(folder)
    assert names(folder) == ["a.tif", "b.JPG", "1.png", "2.jp2"]


def test_file_is_looked_at_whatever_its_ending(folder: Path) -> None:
    assert found(folder / "notes.txt") == [Item("notes", "file", str(folder / "notes.txt"))]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.tif", ["a.tif"]),
        ("**/*.p*", ["1.png"]),
        ("[ab].*", ["a.tif", "b.JPG"]),
        ("*", ["Thumbs.db", "a.tif", "b.JPG"]),
    ],
)
def test_pattern(folder: Path, pattern: str, expected: list[str]) -> None:
    assert names(folder / pattern)[: len(expected)] == expected


def test_pattern_does_not_go_round_in_a_ring_of_links_nor_into_what_is_hidden(tmp_path: Path) -> None:
    for ring in ("one", "two"):
        (tmp_path / ring).symlink_to(tmp_path)
    (tmp_path / ".hidden").mkdir()
    for place in (".hidden/a.png", ".b.png", "c.png"):
        (tmp_path / place).touch()
    assert names(tmp_path / "**/*.png") == ["c.png"]
    assert names(tmp_path / ".hidden/*.png") == ["a.png"]


def test_what_a_pattern_passes_over_is_counted(folder: Path) -> None:
    passed = Counter[str]()
    (folder / ".b.jpg").touch()
    assert len(list(items_of(str(folder / "*"), no_iiif, passed))) == 5
    assert passed == {"hidden": 3, "folders": 1}


def test_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "inv[1].png").touch()
    assert found(tmp_path / "inv[1].png")[0].object_number == "inv[1]"


def test_object_number_is_the_name_without_its_ending(tmp_path: Path) -> None:
    (tmp_path / "inv123_2.v1.jpg").touch()
    assert found(tmp_path)[0].object_number == "inv123_2.v1"


def test_name_in_another_encoding_is_looked_at(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Path(name).touch()
    assert found(tmp_path) == [Item("caf\N{REPLACEMENT CHARACTER}", "file", name)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_folder_that_may_not_be_entered_is_an_item_that_fails(folder: Path) -> None:
    (folder / "z").chmod(0)
    assert found(folder)[-1].failure == Failure("unreadable_file", "The folder cannot be read (Permission denied).")
    (folder / "z").chmod(0o755)


@pytest.mark.parametrize(
    ("source", "told"),
    [("none", "There is no "), ("none/*.jpg", "No file matches "), ("no\ud8ffne", "There is no ")],
)
def test_source_that_means_nothing(tmp_path: Path, source: str, told: str) -> None:
    with pytest.raises(JobError, match=told):
        found(f"{tmp_path}/{source}" if "\ud8ff" not in source else os.fsdecode(b"/caf\xe9"))


@pytest.mark.parametrize(
    ("found_canvas", "item"),
    [
        (
            Canvas("http://a/c/1", "1r", "http://a/m", "http://a/iiif/x", is_service=True),
            Item("http://a/c/1", "service", "http://a/iiif/x", "http://a/c/1", "http://a/m"),
        ),
        (
            Canvas("http://a/c/1", None, "http://a/m", "http://a/x.jpg", is_service=False),
            Item("http://a/c/1", "url", "http://a/x.jpg", "http://a/c/1", "http://a/m"),
        ),
        (
            Canvas(None, None, None, FULL, is_service=False),
            Item(FULL, "service", FULL),
        ),
        (
            Broken("http://a/c/2", ImageFetchFailed("No image is painted.")),
            Item("http://a/c/2", "url", "http://a/c/2", failure=Failure("image_fetch_failed", "No image is painted.")),
        ),
    ],
)
def test_canvas(found_canvas: Canvas | Broken, item: Item) -> None:
    asked: list[str] = []

    def read_uri(uri: str) -> Iterator[Canvas | Broken]:
        asked.append(uri)
        yield found_canvas

    assert list(items_of("HTTPS://a/m", read_uri)) == [item]
    assert asked == ["HTTPS://a/m"]
