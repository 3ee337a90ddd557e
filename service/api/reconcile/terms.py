"""The terms of the served lists as entities of the Reconciliation API: identifiers, search, and a page for each."""

import hashlib
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from service.errors import NotFound
from service.zero_shot.phrase_lists import PhraseList

IDENTIFIER_SPACE = "http://vocab.getty.edu/aat/"
"""What the identifiers of digits alone continue: that of the Art & Architecture Thesaurus."""

_GETTY = re.compile(r"https?://vocab\.getty\.edu/(?:page/)?(aat|ulan|tgn)/([0-9]{1,12})")
_WIKIDATA = re.compile(r"https?://www\.wikidata\.org/(?:entity|wiki)/(Q[0-9]{1,12})")
_DIGEST_CHARACTERS = 16  # 64 bits
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title></head>
<body><h1>{name}</h1>
<p>A term of {lists}.</p>
<p>{uri}</p>
<p>Where it was suggested for a picture, a machine suggested it. Check it before you use it.</p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Term:
    """A term: its identifier, its first label, its authority's URI, and the lists that have it."""

    id: str
    name: str
    uri: str | None
    lists: tuple[PhraseList, ...]

    @property
    def page(self) -> str:
        """A small HTML document about the term, to be shown in a frame."""
        # Only links that a browser may follow from here; a URN is text.
        uri = html.escape(self.uri or "No authority's URI is known.")
        return _PAGE.format(
            name=html.escape(self.name),
            lists=html.escape(", ".join(each.title for each in self.lists)),
            uri=f'<a href="{uri}" target="_blank" rel="noopener noreferrer">{uri}</a>' if self.is_on_the_web else uri,
        )

    @property
    def is_on_the_web(self) -> bool:
        """Whether its URI is one that a browser can open."""
        return (self.uri or "").startswith(("http://", "https://"))


def term_id(list_name: str, label: str, uri: str | None) -> str:
    """Return a term's identifier: digits for the AAT, else a name that is no number.

    `300041405` is a term of the AAT; `ulan-500115588`, `tgn-7008038` and `wikidata-Q5582` are of other vocabularies;
    `sites.b8fafe63e29baa8f` is any other term of the list `sites`, by a digest of its label. All characters are
    unreserved ones (RFC 3986, section 2.3), because clients put identifiers into URLs as they are.
    """
    if found := _GETTY.fullmatch(uri or ""):
        vocabulary, number = found.groups()
        return number if vocabulary == "aat" else f"{vocabulary}-{number}"
    if found := _WIKIDATA.fullmatch(uri or ""):
        return f"wikidata-{found[1]}"
    return f"{list_name}.{hashlib.sha256(label.encode()).hexdigest()[:_DIGEST_CHARACTERS]}"


class Terms:
    """The terms of all served lists. They are gathered when they are first asked for: rankings need none of it."""

    def __init__(self, served: Mapping[str, PhraseList]) -> None:
        self._served = served

    def term(self, identifier: str) -> Term:
        """Return the term. Raises NotFound."""
        term = self._by_id.get(identifier)
        if term is None:
            raise NotFound("No term of the served lists has this identifier.")
        return term

    def suggested(self, prefix: str, list_name: str | None, skip: int, most: int) -> list[Term]:
        """Return the terms that have a word which starts so, those that start so themselves first.

        list_name: only terms of this list; None, or a name that no list has, for all
        """
        wanted = " ".join(prefix.casefold().split())
        if wanted and (named := self._by_id.get(prefix)):
            return [term for term in self._of_list(list_name) if term is named][skip:]
        terms = [term for term in self._of_list(list_name) if f" {wanted}" in f" {term.name.casefold()}"]
        terms.sort(key=lambda term: not term.name.casefold().startswith(wanted))
        return list(islice(terms, skip, skip + most))

    def _of_list(self, name: str | None) -> Iterator[Term]:
        only = self._served.get(name or "")
        return (term for term in self._by_id.values() if only is None or only in term.lists)

    @cached_property
    def _by_id(self) -> Mapping[str, Term]:
        terms: dict[str, Term] = {}
        for phrase_list in self._served.values():
            for label, uri in zip(phrase_list.labels, phrase_list.uris, strict=True):
                identifier = term_id(phrase_list.name, label, uri)
                known = terms.get(identifier)
                if known is None:
                    terms[identifier] = Term(identifier, label, uri, (phrase_list,))
                elif phrase_list not in known.lists:
                    terms[identifier] = Term(identifier, known.name, known.uri, (*known.lists, phrase_list))
        return terms
