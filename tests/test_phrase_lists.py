"""The ten built-in lists, a museum's own folder, and every way in which its files can be broken."""

import hashlib
import re
from pathlib import Path

import pytest

from service.errors import InvalidList
from service.zero_shot.phrase_lists import LIST_NAME, PhraseList, built_in_folder, own_list, read_lists

# name, labels, labels with a URI, template
BUILT_IN = [
    ("movements", 193, 111, "{} movement"),
    ("painting_materials", 25, 18, "{} medium"),
    ("sculpture_materials", 38, 33, "sculpted from {}"),
    ("printing_techniques", 29, 19, "{} printing technique"),
    ("surfaces", 19, 14, "on {}"),
    ("tools", 24, 12, "using {}"),
    ("sites", 19, 0, "{}"),
    ("qualities", 7, 0, "{} quality"),
    ("artists_by_training_prevalence", 957, 236, "by {}"),
    ("artists_by_name", 5854, 1292, "{}"),
]


def folder_of(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, contents in files.items():
        (folder / name).write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return folder


def one_list(folder: Path, files: dict[str, str | bytes]) -> PhraseList:
    (only,) = read_lists(folder_of(folder, files)).values()
    return only


def test_the_built_in_lists_are_served_in_their_order(phrase_lists: dict[str, PhraseList]) -> None:
    assert list(phrase_lists) == [name for name, *_ in BUILT_IN]


@pytest.mark.parametrize(("name", "labels", "with_uri", "template"), BUILT_IN)
def test_a_built_in_list(
    phrase_lists: dict[str, PhraseList], name: str, labels: int, with_uri: int, template: str
) -> None:
    built_in = phrase_lists[name]
    assert built_in.name == name
    assert len(built_in.labels) == len(set(built_in.labels)) == labels
    assert len(built_in.uris) == labels
    assert sum(uri is not None for uri in built_in.uris) == with_uri
    assert built_in.template == template
    assert built_in.phrases == tuple(template.replace("{}", label) for label in built_in.labels)
    assert all(label == label.strip() != "" for label in built_in.labels)
    authority = re.compile(r"http://(vocab\.getty\.edu/(aat|ulan)/[0-9]+|www\.wikidata\.org/entity/Q[0-9]+)")
    assert all(authority.fullmatch(uri) for uri in built_in.uris if uri is not None)
    for text in (built_in.title, built_in.description, built_in.source, built_in.licence):
        assert text.strip()


@pytest.mark.parametrize(
    ("name", "place", "phrase", "uri"),
    [
        ("movements", 0, "abstract art movement", "http://vocab.getty.edu/aat/300108127"),
        ("movements", -1, "vorticism movement", "http://vocab.getty.edu/aat/300021515"),
        ("movements", -2, "visual art movement", None),
        ("painting_materials", 0, "acrylic paint medium", "http://vocab.getty.edu/aat/300015058"),
        ("printing_techniques", 0, "aquatint printing technique", "http://vocab.getty.edu/aat/300053242"),
        ("surfaces", 1, "on canvas", "http://vocab.getty.edu/aat/300014078"),
        ("surfaces", -1, "on wood", "http://vocab.getty.edu/aat/300011914"),
        ("tools", 0, "using action painting", None),
        ("sites", 0, "artstation", None),
        ("qualities", 0, "acceptable quality", None),
        ("qualities", -1, "terrible quality", None),
        ("artists_by_training_prevalence", 0, "by sandra chevrier", None),
        ("artists_by_training_prevalence", -1, "by david c. sutherland iii", None),
        ("artists_by_name", 0, "a. b. jackson", None),
        ("artists_by_name", 9, "aaron nagel,", None),
        ("artists_by_name", -1, "ștefan luchian", None),
    ],
)
def test_phrases_of_the_built_in_lists(
    phrase_lists: dict[str, PhraseList], name: str, place: int, phrase: str, uri: str | None
) -> None:
    assert phrase_lists[name].phrases[place] == phrase
    assert phrase_lists[name].uris[place] == uri


@pytest.mark.parametrize(
    ("contents", "labels", "uris"),
    [
        ("label,uri\nhay,http://a.example/1\noats,\nrye\n", ("hay", "oats", "rye"), ("http://a.example/1", None, None)),
        ("label\nhay\noats\n", ("hay", "oats"), (None, None)),
        ("\ufefflabel,uri\r\nhay,https://a.example/1\r\noats,\r\n", ("hay", "oats"), ("https://a.example/1", None)),
        (
            'label,uri\n"hay, in stacks",urn:x:1\n"a ""good"" year",',
            ("hay, in stacks", 'a "good" year'),
            ("urn:x:1", None),
        ),
        ("label,uri\n\n  hay , http://a.example/1 \n\n", ("hay",), ("http://a.example/1",)),
        ("label\nÆsop’s fables\n日本画\n🎨\n", ("Æsop’s fables", "日本画", "🎨"), (None, None, None)),
        ("label\n" + "x" * 1000, ("x" * 1000,), (None,)),
        ("Label;URI\r\nhay, dry;http://a.example/1\r\noats;\r\n", ("hay, dry", "oats"), ("http://a.example/1", None)),
        (
            "sep=;\r\nLABEL;URI;\r\nhay;http://a.example/1;\r\n;;\r\noats;;\r\n;;",
            ("hay", "oats"),
            ("http://a.example/1", None),
        ),
        (
            'label, uri\n"hay, dry" , http://a.example/1\n , \noats, \n,,,\n',
            ("hay, dry", "oats"),
            ("http://a.example/1", None),
        ),
        ("uri\tLabel\nhttp://a.example/1\thay\n", ("hay",), ("http://a.example/1",)),
        ("label\nhay; dry\n", ("hay; dry",), (None,)),
    ],
)
def test_csv_files(tmp_path: Path, contents: str, labels: tuple[str, ...], uris: tuple[str | None, ...]) -> None:
    read = one_list(tmp_path, {"crops.csv": contents})
    assert read == PhraseList("crops", labels, uris, title="crops")
    assert read.phrases == labels


@pytest.mark.parametrize(
    ("contents", "labels"),
    [
        ("hay\noats\n", ("hay", "oats")),
        ("hay\noats", ("hay", "oats")),
        ("hay\roats\r", ("hay", "oats")),
        ("\ufeffhay\r\n\r\n  oats  \r\n", ("hay", "oats")),
        ('hay, in stacks\nlabel,uri\n"quoted"\n', ("hay, in stacks", "label,uri", '"quoted"')),
    ],
)
def test_text_files(tmp_path: Path, contents: str, labels: tuple[str, ...]) -> None:
    assert one_list(tmp_path, {"crops_of-1900.txt": contents}) == PhraseList(
        "crops_of-1900", labels, (None,) * len(labels), title="crops of-1900"
    )


@pytest.mark.parametrize(
    "contents",
    [
        "label,uri\nhay,http://a.example/1\n",
        "Label;URI;\r\nhay;http://a.example/1;\r\n",
        "URI\tLabel\nhttp://a.example/1\thay\n",
    ],
)
def test_csv_that_is_called_text_is_a_csv(tmp_path: Path, contents: str) -> None:
    read = one_list(tmp_path, {"crops.txt": contents})
    assert (read.labels, read.uris) == (("hay",), ("http://a.example/1",))


@pytest.mark.parametrize("name", ["crops.csv", "crops.txt"])
def test_end_of_a_file_of_dos_is_no_label(tmp_path: Path, name: str) -> None:
    assert one_list(tmp_path, {name: "label\r\nhay\r\n\x1a"}).labels[-1] == "hay"


def test_what_lists_toml_says_of_a_list_is_used(tmp_path: Path) -> None:
    about = 'title = "Crops"\ndescription = "What grows."\ntemplate = "a field of {}"\nsource = "Us"\nlicence = "CC0"\n'
    read = one_list(tmp_path, {"lists.toml": f"[crops]\n{about}", "crops.txt": "hay\n{}\n"})
    assert read == PhraseList(
        "crops", ("hay", "{}"), (None, None), "Crops", "What grows.", "a field of {}", "Us", "CC0"
    )
    assert read.phrases == ("a field of hay", "a field of {}")


def test_lists_come_in_the_order_of_lists_toml_and_then_of_their_names(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"{name}.txt": "x" for name in ("b", "a", "z", "m")}
    folder = folder_of(tmp_path, {"lists.toml": "\ufeff[z]\r\n[m]\r\n", ".hidden": "x", **files})
    assert list(read_lists(folder)) == ["z", "m", "a", "b"]


def test_a_museums_folder_comes_behind_the_built_in_one(tmp_path: Path) -> None:
    both = read_lists(built_in_folder(), folder_of(tmp_path, {"crops.txt": "hay"}))
    assert list(both) == [*(name for name, *_ in BUILT_IN), "crops"]


@pytest.mark.parametrize(
    ("name", "contents", "line", "reason"),
    [
        ("a.csv", "", 1, "first line must be"),
        ("a.csv", "hay,http://a.example/1\n", 1, "first line must be"),
        ("a.csv", "label;uri;note\nhay;;\n", 1, "first line must be"),
        ("a.csv", "label,label\nhay,oats\n", 1, "first line must be"),
        ("a.csv", "uri\nhttp://a.example/1\n", 1, "first line must be"),
        ("a.csv", "label,uri,\nhay,,good\n", 2, "more fields"),
        ("a.csv", "Label;URI\nhay;\noats;http://a.example/1;2\n", 3, "more fields"),
        ("a.csv", "label,uri\n,,\n\n", 1, "has no label"),
        ("a.csv", "label,uri,note\nhay,,\n", 1, "first line must be"),
        ("a.csv", "label,uri\n", 1, "has no label"),
        ("a.csv", "label,uri\nhay,\noats,http://a.example/1,2\n", 3, "more fields"),
        ("a.csv", "label\nhay\noats, wild\n", 3, "more fields"),
        ("a.csv", "label,uri\nhay,\n,http://a.example/1\n", 3, "label is empty"),
        ("a.csv", "label,uri\nhay,\noats,\nhay,\n", 4, "stands in line 2 already"),
        ("a.csv", "label,uri\nhay,\n hay ,\n", 3, "stands in line 2 already"),
        ("a.csv", "label,uri\nhay,\no\0ats,\n", 3, "NUL"),
        ("a.csv", "label,uri\nhay,\n" + "x" * 1001 + ",\n", 3, "more than 1000 characters"),
        ("a.csv", "label,uri\nhay,\n" + "x" * 200_000 + ",\n", 3, "more than 1000 characters"),
        ("a.csv", "label,uri\nhay,ftp://a.example/1\n", 2, "URI must start"),
        ("a.csv", "label,uri\nhay,http://a.example/1 2\n", 2, "URI must start"),
        ("a.csv", "label,uri\nhay,javascript:alert(1)\n", 2, "URI must start"),
        ("a.csv", "label,uri\nhay,http://\n", 2, "URI must start"),
        ("a.csv", "label,uri\nhay,http://[bad/x\n", 2, "URI must start"),
        ("a.csv", "label,uri\nhay,urn:x\n", 2, "URI must start"),
        ("a.csv", 'label,uri\nhay,\n"oats,\nrye,\n', 3, "is not closed"),
        ("a.csv", 'label\nhay\n"oats\nrye"\n', 3, "the label has a line break"),
        ("a.csv", 'label,uri\r\nhay,\r\n"oats,\r\n,\r\n12",\r\n', 3, "the label has a line break"),
        ("a.csv", 'label,uri\nhay,\n"oats" and rye,\n', 3, "expected after"),
        ("a.csv", "label,uri\rhay,\r,urn:x:1\r", 3, "label is empty"),
        ("a.csv", b"label,uri\nhay,\nna\xefve,\n", 3, "not UTF-8"),
        ("a.csv", b"\xef\xbb\xbflabel\nhay\n\xff\n", 3, "not UTF-8"),
        ("a.csv", "label,uri\nhay,\n".encode("utf-16"), 1, "not UTF-8"),
        ("a.txt", "", 1, "has no label"),
        ("a.txt", "\n \n\n", 1, "has no label"),
        ("a.txt", "hay\noats\n\nhay\n", 4, "stands in line 1 already"),
        ("a.txt", "hay\no\0ats\n", 2, "NUL"),
        ("a.txt", "hay\n\n" + "x" * 1001, 3, "more than 1000 characters"),
        ("a.txt", b"hay\r\noats\r\n\r\n\xe4\r\n", 4, "not UTF-8"),
        ("lists.toml", "[crops]\ntitle = \n", 2, "Invalid value"),
        ("lists.toml", "[crops\n", 1, "Expected"),
        ("lists.toml", "[crops]\n[crops]\n", 2, "Cannot declare"),
        ("lists.toml", b"[crops]\ntitle = '\xe4'\n", 2, "not UTF-8"),
        ("lists.toml", "\n[crops]\ntemplate = 'a field'\n", 2, r"must contain \{\} once"),
        ("lists.toml", "\n\n[crops]\ntemplate = '{} and {}'\n", 3, r"must contain \{\} once"),
        ("lists.toml", "[crops]\ntemplate = ''\n", 1, r"must contain \{\} once"),
        ("lists.toml", "[crops]\ntitle = 7\n", 1, "each a string"),
        ("lists.toml", "# ours\n[crops]\ncolour = 'green'\n", 2, "and nothing else"),
        ("lists.toml", "# ours\ncrops = 'hay'\n", 2, "may have title"),
        ("lists.toml", "[crops]\n\n[oats]\n", 3, r"\[oats\] has no file oats\.csv or oats\.txt"),
        ("lists.toml", "[crops]\n\n['more.oats']\n", 3, "has no file"),
    ],
)
def test_a_broken_file_is_named_with_its_line(
    tmp_path: Path, name: str, contents: str | bytes, line: int, reason: str
) -> None:
    folder = folder_of(tmp_path, {"crops.txt": "hay", name: contents})
    with pytest.raises(InvalidList, match=reason) as raised:
        read_lists(folder)
    message = str(raised.value)
    assert str(folder / name) in message
    assert re.search(rf"\bline {line}\b", message), message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Crops.csv", "a-z, 0-9"),
        ("crops of 1900.csv", "a-z, 0-9"),
        ("crops.1900.csv", "a-z, 0-9"),
        ("getreide-ä.txt", "a-z, 0-9"),
        ("a" * 65 + ".txt", "1 to 64"),
        ("phrases.txt", "kept for phrases that callers send"),
        ("crops.CSV", "ends in .csv or .txt"),
        ("crops.tsv", "ends in .csv or .txt"),
        ("crops.xlsx", "ends in .csv or .txt"),
        ("crops", "ends in .csv or .txt"),
        ("README.md", "ends in .csv or .txt"),
    ],
)
def test_a_file_of_a_wrong_name_is_named(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(InvalidList, match=reason) as raised:
        read_lists(folder_of(tmp_path, {name: "label\nhay\n"}))
    assert str(tmp_path / name) in str(raised.value)


def test_a_folder_inside_the_folder_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "crops.csv").mkdir()
    with pytest.raises(InvalidList, match="a list is a file"):
        read_lists(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", folder_of(tmp_path, {"a.txt": "hay"}) / "a.txt"):
        with pytest.raises(InvalidList, match="no such folder") as raised:
            read_lists(folder)
        assert str(folder) in str(raised.value)


def test_an_empty_folder_has_no_lists(tmp_path: Path) -> None:
    assert read_lists(tmp_path) == {}


def test_a_name_of_a_built_in_list_is_taken(tmp_path: Path) -> None:
    with pytest.raises(InvalidList, match=r"line 1: the list name 'surfaces' is taken by .*surfaces\.csv") as raised:
        read_lists(built_in_folder(), folder_of(tmp_path, {"surfaces.txt": "hay"}))
    assert str(raised.value).startswith(str(tmp_path / "surfaces.txt"))


def test_two_files_of_one_name_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(InvalidList, match="is taken by"):
        read_lists(folder_of(tmp_path, {"crops.txt": "hay", "crops.csv": "label\noats"}))


def test_the_hash_is_of_template_labels_and_uris() -> None:
    contents = '["a {}",["hay","日本画"],["urn:x:1",null]]'
    assert PhraseList("crops", ("hay", "日本画"), ("urn:x:1", None), template="a {}").hash == (
        hashlib.sha256(contents.encode()).hexdigest()
    )


@pytest.mark.parametrize(
    "other",
    [
        PhraseList("crops", ("hay", "oat"), (None, "urn:x:1")),
        PhraseList("crops", ("oats", "hay"), (None, "urn:x:1")),
        PhraseList("crops", ("hay", "oats"), (None, None)),
        PhraseList("crops", ("hay", "oats"), ("urn:x:1", None)),
        PhraseList("crops", ("hay", "oats"), (None, "urn:x:1"), template="a {}"),
        PhraseList("crops", ("hay", "oats", "rye"), (None, "urn:x:1", None)),
    ],
)
def test_the_hash_differs_where_an_answer_would(other: PhraseList) -> None:
    assert PhraseList("crops", ("hay", "oats"), (None, "urn:x:1")).hash != other.hash


def test_the_hash_is_equal_where_an_answer_would_be(tmp_path: Path) -> None:
    written = PhraseList("crops", ("hay", "oats"), (None, "urn:x:1"))
    renamed = PhraseList("cereals", ("hay", "oats"), (None, "urn:x:1"), "Title", "Description", "{}", "Us", "CC0")
    read = one_list(tmp_path, {"crops.csv": "label,uri\r\nhay,\r\noats,urn:x:1"})
    assert written.hash == renamed.hash == read.hash


def test_a_callers_own_list() -> None:
    own = own_list("subject", ("a river", "a bridge"), "a painting of {}")
    assert own.phrases == ("a painting of a river", "a painting of a bridge")
    assert own.uris == (None, None)


@pytest.mark.parametrize(
    ("name", "fits"),
    [("a", True), ("a_b-9", True), ("a" * 64, True), ("", False), ("a" * 65, False), ("A", False), ("a\n", False)],
)
def test_list_names(name: str, fits: bool) -> None:
    assert bool(LIST_NAME.fullmatch(name)) is fits
