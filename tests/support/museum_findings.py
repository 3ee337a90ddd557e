"""Findings for the tests of documents: what is usual, and every text that a format could trip over."""

from datetime import UTC, datetime

from service.documents.finding import Finding, Provenance, RankedTerms, Subject, Term

PROVENANCE = Provenance(
    model="openai/clip-vit-base-patch32",
    revision="3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
    version="1.2.3",
    address="https://gaze.museum.example",
    created=datetime(2026, 1, 15, 10, 0, 0, 250_000, tzinfo=UTC),
)
PAGE = "https://gaze.museum.example/v1/answers/42"

HOSTILE = (
    '=HYPERLINK("http://evil.example","here")',
    "'=already guarded",
    "+1",
    "-2",
    "@SUM(A1)",
    "\ttab first",
    "＝full width",
    "pen, ink and wash",
    'the "so-called" style',
    "a|b",
    "ends in a backslash\\",
    'a backslash before a quote\\"',
    "100% cotton; list=forged",
    "two\r\nlines\nand a third",
    "%7C is not a bar",
    "💣",
    "naïve 画 \u202ereversed",
    " blanks around ",
)


def term(rank: int, label: str, uri: str | None = None, probability: float = 0.1, similarity: float = 0.25) -> Term:
    return Term(rank, label, f"{label} movement", uri, probability, similarity)


def ranked(name: str, *terms: Term) -> RankedTerms:
    return RankedTerms(name, name.title(), name.encode().hex().ljust(64, "0")[:64], 193, terms)


ORDINARY = Finding(
    Subject(
        "1937.1.84",
        "https://museum.example/images/a b.jpg",
        "https://museum.example/iiif/obj1/canvas/p1",
        "https://museum.example/iiif/obj1/manifest",
        "ab" * 32,
    ),
    (
        ranked(
            "movements",
            term(1, "impressionism", "http://vocab.getty.edu/aat/300021503", 0.62, 0.2710123956203461),
            term(2, "tonalism", None, 5.056198005440168e-10, -0.008737608790397644),
        ),
        ranked("painting_materials", term(1, "oil paint", "http://vocab.getty.edu/aat/300015050", 1.0, 0.3)),
        ranked("printing_techniques", term(1, "woodcut", "http://vocab.getty.edu/aat/300041405")),
        ranked("tools", term(1, "airbrush", "http://vocab.getty.edu/aat/300022706"), term(2, "action painting")),
        ranked("artists_by_name", term(1, "claude monet", "http://vocab.getty.edu/ulan/500019484")),
        ranked(
            "artists_by_training_prevalence",
            term(1, "by nobody"),
            term(2, "gerhard richter", "http://www.wikidata.org/entity/Q164683"),
        ),
    ),
)
UPLOAD = Finding(
    Subject(sha256="ef" * 32), (ranked("surfaces", term(1, "canvas", "http://vocab.getty.edu/aat/300014078")),)
)
HOSTILE_FINDING = Finding(
    Subject("=2+3", "https://museum.example/100%/<x>|y[é].jpg#a#b"),
    (
        ranked("phrases", *(term(rank, label) for rank, label in enumerate(HOSTILE, start=1))),
        ranked("own list", term(1, HOSTILE[0], 'https://terms.example/a|"b'), term(2, HOSTILE[9], "urn:example:1")),
    ),
)
NOTHING = Finding(Subject("1937.1.85"), (ranked("movements"),))

FINDINGS = (ORDINARY, UPLOAD, HOSTILE_FINDING, NOTHING)
EVERY_TERM = [(finding, of_list, each) for finding in FINDINGS for of_list in finding.lists for each in of_list.terms]
