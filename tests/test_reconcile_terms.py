"""Identifiers of terms, and the search for them."""

import re

import pytest

from service.api.reconcile.terms import Terms, term_id
from service.errors import NotFound
from service.zero_shot.phrase_lists import PhraseList

AAT = "http://vocab.getty.edu/aat/300041405"
SURFACES = PhraseList("surfaces", ("woodcut", "wood", "old wood", "<b>", "note"), (AAT, None, None, None, "urn:x:1"))
PRINTS = PhraseList("prints", ("woodblock", "wood"), (AAT, None), title="Our prints")


@pytest.fixture
def terms() -> Terms:
    return Terms({each.name: each for each in (SURFACES, PRINTS)})


@pytest.mark.parametrize(
    ("uri", "identifier"),
    [
        (AAT, "300041405"),
        ("https://vocab.getty.edu/page/aat/300041405", "300041405"),
        ("http://vocab.getty.edu/ulan/500115588", "ulan-500115588"),
        ("http://vocab.getty.edu/tgn/7008038", "tgn-7008038"),
        ("http://www.wikidata.org/entity/Q5582", "wikidata-Q5582"),
    ],
)
def test_term_of_a_known_vocabulary_is_called_by_its_number(uri: str, identifier: str) -> None:
    assert term_id("300041405", "one", uri) == term_id("other", "another", uri) == identifier


@pytest.mark.parametrize(
    "uri",
    [
        *(None, "https://museum.example/terms/300041405", "urn:x:300041405", f"{AAT}/", f"{AAT}?a=1", "300041405"),
        *("http://vocab.getty.edu/aat/", "http://evil.example/http://vocab.getty.edu/aat/300041405"),
        "http://vocab.getty.edu/aat/٣٠٠",
    ],
)
def test_any_other_term_is_called_by_its_list_and_label_and_never_by_a_number(uri: str | None) -> None:
    found = {term_id(name, label, uri) for name in ("300041405", "a_b-c") for label in ("ü", "u", "a/b?c#d")}
    assert len(found) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+\.[0-9a-f]{16}", each) for each in found)


def test_identifiers_of_the_built_in_lists_can_stand_in_a_url_and_name_one_term(
    phrase_lists: dict[str, PhraseList],
) -> None:
    uri_of: dict[str, str | None] = {}
    for each in phrase_lists.values():
        for label, uri in zip(each.labels, each.uris, strict=True):
            identifier = term_id(each.name, label, uri)
            assert re.fullmatch(r"[A-Za-z0-9._~-]+", identifier)
            assert uri_of.setdefault(identifier, uri) == uri
            assert identifier.isdigit() == (uri or "").startswith("http://vocab.getty.edu/aat/")
    assert len(uri_of) > 6_000


def test_one_term_in_two_lists_is_one(terms: Terms) -> None:
    term = terms.term("300041405")
    assert (term.name, term.uri, term.lists) == ("woodcut", AAT, (SURFACES, PRINTS))
    with pytest.raises(NotFound):
        terms.term("300041406")


@pytest.mark.parametrize(
    ("prefix", "list_name", "skip", "names"),
    [
        ("wood", None, 0, ["woodcut", "wood", "wood", "old wood"]),
        (" WOOD ", "prints", 0, ["woodcut", "wood"]),
        ("wood", "no list", 0, ["woodcut", "wood", "wood", "old wood"]),
        ("wood", None, 3, ["old wood"]),
        ("wood", None, 10**9, []),
        ("old  wo", None, 0, ["old wood"]),
        ("ood", None, 0, []),
        ("300041405", None, 0, ["woodcut"]),
        ("300041405", None, 1, []),
        ("30004140", None, 0, []),
        ("", "prints", 0, ["woodcut", "wood"]),
    ],
)
def test_suggestions(terms: Terms, prefix: str, list_name: str | None, skip: int, names: list[str]) -> None:
    assert [term.name for term in terms.suggested(prefix, list_name, skip, 20)] == names
    assert [term.name for term in terms.suggested(prefix, list_name, skip, 1)] == names[:1]


def test_page_escapes_what_a_list_says(terms: Terms) -> None:
    page = terms.term(term_id("surfaces", "<b>", None)).page
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "Our prints" in terms.term("300041405").page
    assert f'href="{AAT}"' in terms.term("300041405").page
    assert "href" not in terms.term(term_id("surfaces", "note", "urn:x:1")).page
