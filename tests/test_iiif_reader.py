"""Manifests, collections and images on a host on loopback: all their pictures, whatever that host sends."""

import json
import time
from itertools import islice
from typing import Any

import pytest

from service.errors import (
    CallerGone,
    GazeError,
    ImageFetchFailed,
    ImageFetchTimeout,
    ImageTooLarge,
    UrlNotAllowed,
)
from service.iiif.document import IiifBudget
from service.iiif.presentation import Broken, Canvas
from service.iiif.reader import IiifReader
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FetchLimits, ImageFetcher
from service.images.loader import Tile, TiledImage
from tests.conftest import noise
from tests.support.iiif_tree import StaticHost, tiles_only
from tests.support.origin import Answer, Origin, http, moved, reset, slowly

THIRD = {"@context": "http://iiif.io/api/image/3/context.json", "type": "ImageService3"}


def reader(most_parts: int = 100, most_depth: int = 4, allowed: str = "127.0.0.0/8", seconds: float = 5) -> IiifReader:
    fetcher = ImageFetcher(FetchPolicy.parse(allowed), FetchLimits(1_000_000, seconds))
    return IiifReader(fetcher, IiifBudget(most_parts, 100_000_000, 1_000_000), most_depth=most_depth)


class Museum(Origin):
    """A host of documents, which are written with {host} for its own address."""

    def __init__(self, **documents: Any) -> None:
        self.host = StaticHost()
        super().__init__(self.host)
        self.url = f"http://{self.address}"
        for name, document in documents.items():
            self.add(name, document)

    def add(self, name: str, document: Any) -> None:
        self.host[f"/{name}"] = http(json.dumps(document).replace("{host}", self.url).encode())

    @property
    def asked(self) -> list[str]:
        """The paths that were asked for, in their order."""
        return [request.split(" ")[1] for request in self.requests]


def canvas(name: str, body: Any = None) -> dict[str, Any]:
    body = body or {"id": f"{{host}}/{name}.jpg", "type": "Image"}
    painting = {"type": "Annotation", "motivation": "painting", "body": body}
    return {
        "id": f"{{host}}/canvas/{name}",
        "type": "Canvas",
        "items": [{"type": "AnnotationPage", "items": [painting]}],
    }


def manifest(name: str, *canvases: Any) -> dict[str, Any]:
    return {"id": f"{{host}}/{name}", "type": "Manifest", "items": list(canvases)}


def collection(name: str, *parts: Any) -> dict[str, Any]:
    """Return a collection of documents, or of the names of some."""
    items = [{"id": f"{{host}}/{part}", "type": "Manifest"} if isinstance(part, str) else part for part in parts]
    return {"id": f"{{host}}/{name}", "type": "Collection", "items": items}


def names(found: list[Canvas | Broken]) -> list[str]:
    """Return the last part of each canvas's id, and for what is broken what is told of it."""
    return [entry.error.detail if isinstance(entry, Broken) else str(entry.id).rpartition("/")[2] for entry in found]


def test_a_collection_gives_the_canvases_of_all_its_manifests_in_order() -> None:
    with Museum(
        top=collection("top", "m1", manifest("m2", canvas("c")), "inner", "m4"),
        m1=manifest("m1", canvas("a"), canvas("b")),
        inner=collection("inner", "m3", collection("embedded", "m5")),
        m3=manifest("m3", canvas("d")),
        m5=manifest("m5", canvas("e")),
        m4=manifest("m4", canvas("f")),
    ) as museum:
        found = list(reader().pictures(f"{museum.url}/top"))
        assert names(found) == ["a", "b", "c", "d", "e", "f"]
        assert found[0] == Canvas(
            f"{museum.url}/canvas/a", None, f"{museum.url}/m1", f"{museum.url}/a.jpg", is_service=False
        )
        assert museum.asked == ["/top", "/m1", "/inner", "/m3", "/m5", "/m4"]


def test_nothing_is_fetched_before_it_is_needed() -> None:
    with Museum(
        top=collection("top", "m1", "m2", "m3"),
        m1=manifest("m1", canvas("a"), canvas("b")),
        m2=manifest("m2", canvas("c")),
    ) as museum:
        canvases = reader().pictures(f"{museum.url}/top")
        assert museum.asked == []
        assert names(list(islice(canvases, 2))) == ["a", "b"]
        assert museum.asked == ["/top", "/m1"]
        assert names(list(reader().pictures(f"{museum.url}/top", most=3))) == ["a", "b", "c"]
        assert museum.asked == ["/top", "/m1", "/top", "/m1", "/m2"]


def test_a_part_that_is_broken_is_told_and_the_others_follow() -> None:
    with Museum(
        top=collection("top", "m1", "gone", "text", "picture", "m2"),
        m1=manifest("m1", {"type": "Canvas"}, canvas("a")),
        text=["no object"],
        picture={**THIRD, "id": "{host}/picture", "width": 1, "height": 1},
        m2=manifest("m2", canvas("b")),
    ) as museum:
        museum.add("top", collection("top", "m1", "gone", "text", "picture", "elsewhere", "m2"))
        museum.host["/elsewhere"] = moved("http://10.0.0.1/")
        found = list(reader().pictures(f"{museum.url}/top"))
        assert names(found) == [
            "No image that can be fetched is painted on this canvas.",
            "a",
            "The document's host answered with status 404.",
            "The document is no JSON object.",
            "The document is neither a IIIF manifest nor a IIIF collection.",
            "The URL's host, address or port is not one that this service may connect to.",
            "b",
        ]
        assert [entry.id.removeprefix(museum.url) for entry in found if isinstance(entry, Broken)] == [
            *("/m1#/items/0", "/gone", "/text", "/picture", "/elsewhere")
        ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http(b"", status="404 Not Found"), ImageFetchFailed),
        (http(b"<html>"), ImageFetchFailed),
        (http(b"[" * 1_000_000), ImageFetchFailed),
        (http(b'{"type": "Range"}'), ImageFetchFailed),
        (moved("http://10.0.0.1/"), UrlNotAllowed),
        (moved("file:///etc/passwd"), UrlNotAllowed),
        (slowly(b"HTTP/1.1 200 OK\r\n\r\n", b" "), ImageFetchTimeout),
    ],
    ids=["404", "HTML", "deep", "a range", "inside", "a file", "slow"],
)
def test_a_document_of_its_own_that_cannot_be_read_raises(answer: Any, error: type[GazeError]) -> None:
    with Museum() as museum:
        museum.host["/top"] = answer
        told = set()
        for beside in (http(b"", status="404 Not Found"), http(b"no JSON")):
            museum.host["/top/info.json"] = beside
            with pytest.raises(error) as raised:
                next(reader(seconds=0.5 if error is ImageFetchTimeout else 5.0).pictures(f"{museum.url}/top"))
            told.add(raised.value.detail)
        # Of the document, and not of the info.json that was then looked for.
        assert len(told) == 1
        assert museum.address not in told.pop()


def test_cycles_are_cut_and_what_is_listed_twice_is_read_once() -> None:
    with Museum(
        top=collection("top", "top", "inner", "m1", "m1"),
        inner=collection("inner", "top", "inner", "m1"),
        m1=manifest("m1", canvas("a")),
    ) as museum:
        assert names(list(reader().pictures(f"{museum.url}/top"))) == ["a"]
        assert museum.asked == ["/top", "/inner", "/m1"]


def test_collections_nest_only_so_deep() -> None:
    deep = manifest("m", canvas("too deep"))
    for level in range(300):
        deep = collection(f"c{level}", deep)
    with Museum(
        top=collection("top", deep, "a1", "m1"),
        m1=manifest("m1", canvas("a")),
        **{f"a{level}": collection(f"a{level}", f"a{level + 1}") for level in range(1, 10)},
    ) as museum:
        told = "Collections that nest more than 4 deep are not read."
        assert names(list(reader().pictures(f"{museum.url}/top"))) == [told, told, "a"]
        assert museum.asked == ["/top", "/a1", "/a2", "/a3", "/m1"]


def test_only_so_many_documents_are_read() -> None:
    manifests = {f"m{number}": manifest(f"m{number}", canvas(f"{number}")) for number in range(20)}
    with Museum(top=collection("top", *manifests), **manifests) as museum:
        found = names(list(reader(most_parts=8).pictures(f"{museum.url}/top")))
        assert found == [*"0123456", "This leads to more IIIF documents than are read for one request."]
        assert len(museum.asked) == 8


def test_pages_that_follow_as_the_last_item_are_counted_and_nesting_is_not_deepened_by_them() -> None:
    pages = {}
    for number in range(1, 9):
        behind = [{"id": f"{{host}}/p{number + 1}", "type": "Collection"}] if number < 8 else []
        pages[f"p{number}"] = collection(f"p{number}", manifest(f"m{number}", canvas(f"{number}")), *behind)
    with Museum(**pages) as museum:
        assert names(list(reader().pictures(f"{museum.url}/p1"))) == [*"12345678"]
        told = "This leads to more IIIF documents than are read for one request."
        assert names(list(reader(most_parts=8).pictures(f"{museum.url}/p1"))) == [*"1234", told]
        # A ring of pages ends where it began.
        museum.add("p8", collection("p8", manifest("m8", canvas("8")), {"id": "{host}/p1", "type": "Collection"}))
        assert names(list(reader().pictures(f"{museum.url}/p1"))) == [*"12345678"]


def test_documents_may_be_too_much_together() -> None:
    """Bytes and values are those of all documents of a request, and none of them need be too large by itself."""
    manifests = {f"m{number}": manifest(f"m{number}", canvas(f"{number}")) for number in range(6)}
    with Museum(top=collection("top", *manifests), **manifests) as museum:
        fetcher = ImageFetcher(FetchPolicy.parse("127.0.0.0/8"), FetchLimits(1_000_000, 5))
        sent = {name: len(str(answer)) for name, answer in museum.host.items()}
        for budget, told in (
            (IiifBudget(100, sent["/top"] + 3 * sent["/m0"], 1_000_000), "bytes"),
            (IiifBudget(100, 1_000_000, 80), "values"),
        ):
            found = names(list(IiifReader(fetcher, budget).pictures(f"{museum.url}/top")))
            assert found[:2] == ["0", "1"]
            assert "5" not in found
            assert all(f"has more {told if told == 'values' else 'than the'}" in each for each in found[-2:])


def test_pages_of_a_collection_do_not_nest() -> None:
    pages = {
        f"p{number}": {
            "@id": f"{{host}}/p{number}",
            "@type": "sc:Collection",
            "manifests": [{"@id": f"{{host}}/m{number}", "@type": "sc:Manifest"}],
            "first": "{host}/p1",
            **({"next": f"{{host}}/p{number + 1}"} if number < 8 else {}),
        }
        for number in range(1, 9)
    }
    manifests = {f"m{number}": manifest(f"m{number}", canvas(f"{number}")) for number in range(1, 9)}
    with Museum(top={"@type": "sc:Collection", "first": "{host}/p1"}, **pages, **manifests) as museum:
        assert names(list(reader().pictures(f"{museum.url}/top"))) == [*"12345678"]


def test_the_deadline_ends_a_collection() -> None:
    with Museum(top=collection("top", *(f"m{number}" for number in range(90)))) as museum:
        for number in range(90):
            museum.host[f"/m{number}"] = slowly(b"HTTP/1.1 200 OK\r\n\r\n", b" ")
        begun = time.monotonic()
        with pytest.raises(ImageFetchTimeout):
            list(reader().pictures(f"{museum.url}/top", begun + 0.5))
        assert time.monotonic() - begun < 2
        # Without one, each has the time that a fetch has.
        assert (
            names(list(reader(seconds=1.0).pictures(f"{museum.url}/top", most=2)))
            == ["The document's host took too long."] * 2
        )


def information(width: int = 4000, height: int = 3000, **more: Any) -> dict[str, Any]:
    return {**THIRD, "id": "{host}/iiif/a", "profile": "level1", "width": width, "height": height, **more}


PICTURE = b"\xff\xd8\xff what stands for a picture"


class Refusing(StaticHost):
    """A host that answers what it has not as an image server answers a size that it does not make."""

    refusal: Answer = http(b"no such size", status="400 Bad Request")

    def __missing__(self, path: str) -> Answer:
        return self.refusal


class Images(Museum):
    """A host that describes an image iiif/a, and has of it what comes behind that."""

    def __init__(self, *given: str, **more: Any) -> None:
        super().__init__()
        refusing = Refusing()
        self.host: Refusing = refusing
        self._answers = refusing
        self.add("iiif/a/info.json", information(**more))
        for path in given:
            self.host[f"/iiif/a/{path}"] = http(PICTURE)


def fetched(image: Canvas | str, **settings: Any) -> bytes | TiledImage:
    return reader(**settings).fetch_image(image, 224)


@pytest.mark.parametrize(
    "uri", ["iiif/a", "iiif/a/", "iiif/a/info.json", "iiif/a/full/max/0/default.jpg", "iiif/a/full/10,/0/default.jpg"]
)
@pytest.mark.parametrize("base", ["redirects", "is nowhere", "is a page"])
def test_an_image_by_any_uri_of_its_own(uri: str, base: str) -> None:
    with Images("full/299,/0/default.jpg") as museum:
        if base != "is nowhere":
            here = moved("/iiif/a/info.json", 303) if base == "redirects" else http(b"<html>")
            museum.host["/iiif/a"] = museum.host["/iiif/a/"] = here
        [found] = reader().pictures(f" {museum.url}/{uri} ")
        assert isinstance(found, Canvas)
        assert (found.id, found.manifest, found.label) == (None, None, None)
        for image in (found, f"{museum.url}/{uri}"):
            assert fetched(image) == PICTURE
            assert museum.asked[-1] == "/iiif/a/full/299,/0/default.jpg"


@pytest.mark.parametrize("own", ["0,0,10,10/max/0", "full/max/90", "square/max/0"])
def test_a_part_and_a_turned_image_are_taken_as_they_are(own: str) -> None:
    with Images(f"{own}/default.jpg") as museum:
        uri = f"{museum.url}/iiif/a/{own}/default.jpg"
        [found] = reader().pictures(uri)
        assert fetched(found if isinstance(found, Canvas) else "") == PICTURE
        assert museum.asked == [f"/iiif/a/{own}/default.jpg"]


@pytest.mark.parametrize(
    "answer",
    [
        http(b"", status="401 Unauthorized"),
        http(b"", status="404 Not Found"),
        http(b"", status="503 Overworked"),
        http(b"<html>"),
        http(b"{}"),
        http(b'{"type": "Manifest", "items": []}'),
        moved("http://10.0.0.1/"),
        reset,
    ],
    ids=["401", "404", "503", "a page", "nothing", "a manifest", "inside", "reset"],
)
def test_an_image_that_stands_open_is_taken_where_nothing_better_is_told_of_it(answer: Answer) -> None:
    with Images("full/1000,/0/default.jpg") as museum:
        museum.host["/iiif/a/info.json"] = answer
        given = f"{museum.url}/iiif/a/full/1000,/0/default.jpg"
        painted = Canvas("c", None, "m", f"{museum.url}/iiif/a", is_service=True, own_image=given)
        for image in (given, painted):
            assert fetched(image) == PICTURE
            assert museum.asked[-2:] == ["/iiif/a/info.json", "/iiif/a/full/1000,/0/default.jpg"]
        # There is nothing else that info.json or a base URI could be.
        for other in (f"{museum.url}/iiif/a", f"{museum.url}/iiif/a/info.json"):
            with pytest.raises(GazeError):
                fetched(other)


@pytest.mark.parametrize("slow", ["info.json", "full/299,/0/default.jpg"])
def test_a_host_that_is_slow_with_what_is_better_leaves_time_for_what_was_given(slow: str) -> None:
    with Images("full/max/0/default.jpg") as museum:
        given = f"{museum.url}/iiif/a/full/max/0/default.jpg"
        museum.host[f"/iiif/a/{slow}"] = slowly(b"HTTP/1.1 200 OK\r\n\r\n", b" ")
        begun = time.monotonic()
        assert reader().fetch_image(given, 224, begun + 1.5) == PICTURE
        assert time.monotonic() - begun < 1.5
        museum.host["/iiif/a/full/max/0/default.jpg"] = slowly(b"HTTP/1.1 200 OK\r\n\r\n", b" ")
        for image in (given, f"{museum.url}/iiif/a"):
            begun = time.monotonic()
            with pytest.raises(ImageFetchTimeout):
                reader().fetch_image(image, 224, begun + 0.5)
            assert 0.5 <= time.monotonic() - begun < 2


SIZES = [{"width": width, "height": width * 3 // 4} for width in (400, 800, 150)]


@pytest.mark.parametrize(
    ("more", "given", "asked"),
    [
        ({}, "full/max", ["full/299,", "full/299,224", "full/max"]),
        ({}, "full/full", ["full/299,", "full/299,224", "full/max", "full/full"]),
        ({"sizes": SIZES}, "full/299,", ["full/400,300", "full/299,"]),
        ({"sizes": SIZES}, "full/800,600", ["full/400,300", "full/299,", "full/800,600"]),
        ({"sizes": SIZES[1:]}, "full/800,600", ["full/299,", "full/800,600"]),
        ({"sizes": SIZES, "profile": "level0"}, "full/400,", ["full/400,300", "full/800,600", "full/400,"]),
        ({}, "full/10,", ["full/299,", "full/299,224", "full/max", "full/full", "full/10,"]),
        ({"width": None}, "full/max", ["full/max"]),
        ({"width": "4000", "height": "3000"}, "full/299,", ["full/299,"]),
    ],
)
@pytest.mark.parametrize(
    "refusal",
    [
        http(b"", status="400 Bad Request"),
        http(b"", status="501 Not Implemented"),
        http(b"", status="500 Internal Server Error"),
        http(b"", status="403 Forbidden"),
        http(b"<!DOCTYPE html><title>No such size"),
        http(b'\xef\xbb\xbf\n {"error": "no such size"}'),
        http(b""),
        http(bytes(1_000_001)),
        moved("http://10.0.0.1/"),
        reset,
    ],
    ids=["400", "501", "500", "403", "a page", "a message", "nothing", "too large", "inside", "reset"],
)
def test_a_size_that_is_not_given_is_left_for_the_next_best(
    more: dict[str, Any], given: str, asked: list[str], refusal: Answer
) -> None:
    with Images(f"{given}/0/default.jpg", **more) as museum:
        museum.host.refusal = refusal
        assert fetched(f"{museum.url}/iiif/a/full/10,/0/default.jpg") == PICTURE
        assert museum.asked == ["/iiif/a/info.json", *(f"/iiif/a/{path}/0/default.jpg" for path in asked)]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_host_that_is_overworked_is_not_asked_for_every_size(status: int) -> None:
    with Images("full/max/0/default.jpg") as museum:
        museum.host.refusal = http(b"", status=f"{status} Busy")
        with pytest.raises(ImageFetchFailed, match=str(status)):
            fetched(f"{museum.url}/iiif/a")
        assert museum.asked == ["/iiif/a/info.json", "/iiif/a/full/299,/0/default.jpg"]
        # The one that was asked for may be a file.
        assert fetched(f"{museum.url}/iiif/a/full/max/0/default.jpg") == PICTURE


def test_a_host_that_is_too_slow_is_not_asked_for_every_size() -> None:
    with Images() as museum:
        museum.host.refusal = slowly(b"HTTP/1.1 200 OK\r\n\r\n", b" ")
        with pytest.raises(ImageFetchTimeout):
            fetched(f"{museum.url}/iiif/a", seconds=0.3)
        assert museum.asked == ["/iiif/a/info.json", "/iiif/a/full/299,/0/default.jpg"]


def test_all_that_is_asked_for_in_vain_is_bounded_and_told() -> None:
    sizes = [{"width": width, "height": width} for width in range(300, 900)]
    with Images(sizes=sizes, tiles=[{"width": 256, "scaleFactors": [1, 2, 4, 8]}]) as museum:
        tiles = [{"width": 256, "scaleFactors": [1, 2, 4, 8]}]
        museum.add("iiif/b/info.json", {**information(sizes=sizes, tiles=tiles), "id": "{host}/elsewhere"})
        for name, most in (("a", 13), ("b", 25)):
            before = museum.connections
            with pytest.raises(ImageFetchFailed, match="400"):
                fetched(f"{museum.url}/iiif/{name}")
            assert museum.connections - before == most
        museum.host["/iiif/a/full/max/0/default.jpg"] = http(bytes(1_000_001))
        with pytest.raises(ImageTooLarge):
            fetched(f"{museum.url}/iiif/a")


def test_a_server_that_does_not_know_its_own_address_is_asked_where_it_was_found() -> None:
    with Images("full/299,/0/default.jpg") as museum:
        for wrong in ("http://10.0.0.1:8182/iiif/a", "http://127.0.0.1:9/iiif/a", "{host}/elsewhere"):
            museum.add("iiif/a/info.json", {**information(), "id": wrong})
            assert fetched(f"{museum.url}/iiif/a") == PICTURE
            assert museum.asked[-1] == "/iiif/a/full/299,/0/default.jpg"


@pytest.mark.parametrize("sizes", [[{"width": 150, "height": 100}], []], ids=["a size that is not there", "no size"])
def test_the_tiles_of_a_tree_that_names_another_place_are_found_beside_it(sizes: Any) -> None:
    picture = noise(512, 512)
    with Museum() as museum:
        tree = tiles_only(picture, 3, f"{museum.url}/iiif/a", 2, 256)
        museum.host.update({f"/iiif/a{path}": http(body) for path, body in tree.items()})
        told = json.loads(tree["/info.json"])
        museum.add("iiif/a/info.json", {**told, "id": f"{museum.url}/iiif/unset", "sizes": sizes})
        assert isinstance(reader().fetch_image(f"{museum.url}/iiif/a", 64), TiledImage)


@pytest.mark.parametrize("said", [b"Unsupported size.\r\n", b"", b" \n", b"\xef\xbb\xbfError: 42"])
def test_a_message_in_place_of_a_picture_is_none(said: bytes) -> None:
    with Images("full/600,/0/default.jpg", sizes=[{"width": 600, "height": 400}]) as museum:
        museum.host["/iiif/a/full/299,/0/default.jpg"] = http(said)
        fetched(f"{museum.url}/iiif/a")
        assert "/iiif/a/full/299,/0/default.jpg" in museum.asked


def test_what_may_not_be_fetched_is_never_asked_for() -> None:
    with Museum() as inside, Images() as museum:
        inside.host["/iiif/a/full/max/0/default.jpg"] = http(PICTURE)
        museum.host["/iiif/a/info.json"] = moved(f"{inside.url}/iiif/a/info.json")
        for image in (
            f"{museum.url}/iiif/a",
            f"{inside.url}/iiif/a/full/max/0/default.jpg",
            Canvas("c", None, "m", f"{museum.url}/iiif/a", True, f"{inside.url}/iiif/a/full/max/0/default.jpg"),
        ):
            with pytest.raises(UrlNotAllowed):
                fetched(image, allowed=museum.address)
        museum.add("iiif/a/info.json", {**information(), "id": f"{inside.url}/iiif/a"})
        with pytest.raises(ImageFetchFailed):
            fetched(f"{museum.url}/iiif/a", allowed=museum.address)
        assert inside.asked == []


def test_the_picture_of_a_canvas() -> None:
    service = {"id": "{host}/iiif/a/info.json", "type": "ImageService3"}
    bodies = (
        {"id": "{host}/a.jpg", "type": "Image", "service": [service]},
        {"id": "{host}/iiif/a/full/max/0/default.jpg", "type": "Image"},
        {"id": "{host}/a.jpg", "type": "Image"},
    )
    with Images("full/299,/0/default.jpg") as museum:
        museum.add("m", manifest("m", *(canvas("c", body) for body in bodies)))
        museum.host["/a.jpg"] = http(PICTURE)
        found = [entry for entry in reader().pictures(f"{museum.url}/m") if isinstance(entry, Canvas)]
        assert [fetched(each) for each in found] == [PICTURE] * 3
        sized = ["/iiif/a/info.json", "/iiif/a/full/299,/0/default.jpg"]
        assert museum.asked == ["/m", *sized, *sized, "/a.jpg"]


def test_a_service_on_another_host_is_asked_there() -> None:
    with Images("full/299,/0/default.jpg") as images, Museum() as museum:
        museum.host["/iiif/b/info.json"] = moved(f"{images.url}/iiif/a/info.json")
        assert fetched(f"{museum.url}/iiif/b") == PICTURE
        assert images.asked[-1] == "/iiif/a/full/299,/0/default.jpg"
        # The documents may say what they like; where pictures are fetched from is the fetcher's to allow.
        with pytest.raises(UrlNotAllowed):
            fetched(f"{museum.url}/iiif/b", allowed=museum.address)


def tiled(*forms: str, **more: Any) -> Images:
    """Return a host that has tiles of its image: those of a quarter of its size, and nothing else."""
    tiles = [{"width": 512, "scaleFactors": [1, 4, 16]}]
    return Images(*(f"{form}/0/default.jpg" for form in forms), profile="level0", tiles=tiles, **more)


BY_BOTH = ("0,0,2048,2048/512,512", "2048,0,1952,2048/488,512", "0,2048,2048,952/512,238", "2048,2048,1952,952/488,238")
BY_WIDTH = tuple(f"{form.rpartition(',')[0]}," for form in BY_BOTH)


@pytest.mark.parametrize("forms", [BY_BOTH, BY_WIDTH], ids=["as version 3 has it", "as version 2 has it"])
def test_tiles_are_fetched_where_there_is_nothing_else(forms: tuple[str, ...]) -> None:
    with tiled(*forms) as museum:
        for number, form in enumerate(forms):
            museum.host[f"/iiif/a/{form}/0/default.jpg"] = http(PICTURE + b"%d" % number)
        found = fetched(f"{museum.url}/iiif/a")
        boxes = [(0, 0, 512, 512), (512, 0, 488, 512), (0, 512, 512, 238), (512, 512, 488, 238)]
        tiles = tuple(Tile(PICTURE + b"%d" % number, box) for number, box in enumerate(boxes))
        assert found == TiledImage(1000, 750, tiles)
        in_vain = [] if forms is BY_BOTH else [BY_BOTH[0]]
        assert museum.asked[1:] == [f"/iiif/a/{form}/0/default.jpg" for form in (*in_vain, *forms)]


def test_a_tile_that_is_missing_is_left_for_the_whole() -> None:
    with tiled(*BY_BOTH[:3], "full/max") as museum:
        assert fetched(f"{museum.url}/iiif/a") == PICTURE
        assert len(museum.asked) == 6
        del museum.host["/iiif/a/full/max/0/default.jpg"]
        with pytest.raises(ImageFetchFailed, match="400"):
            fetched(f"{museum.url}/iiif/a")


def test_tiles_are_bounded_together_in_bytes_time_and_number() -> None:
    with tiled(*BY_BOTH) as museum:
        for form in BY_BOTH:
            museum.host[f"/iiif/a/{form}/0/default.jpg"] = http(bytes([255]) * 300_000)
        with pytest.raises(ImageTooLarge):
            fetched(f"{museum.url}/iiif/a")
        fetcher = ImageFetcher(FetchPolicy.parse("127.0.0.0/8"), FetchLimits(1_000_000, 5))
        for form in BY_BOTH:
            museum.host[f"/iiif/a/{form}/0/default.jpg"] = http(PICTURE)
        few = IiifReader(fetcher, IiifBudget(100, 1_000_000, 1_000, tiles=7))
        assert isinstance(few.fetch_image(f"{museum.url}/iiif/a", 224), TiledImage)
        with pytest.raises(ImageFetchFailed, match="400"):
            few.fetch_image(f"{museum.url}/iiif/a", 224)
        museum.host[f"/iiif/a/{BY_BOTH[2]}/0/default.jpg"] = slowly(b"HTTP/1.1 200 OK\r\n\r\n", b" ")
        begun = time.monotonic()
        with pytest.raises(ImageFetchTimeout):
            reader().fetch_image(f"{museum.url}/iiif/a", 224, begun + 0.5)
        assert time.monotonic() - begun < 2


def test_nobody_who_waits_no_more_is_fetched_tiles_for() -> None:
    gone: list[str] = []

    def require() -> None:
        if len(gone) == 4:
            raise CallerGone
        gone.append("asked")

    fetcher = ImageFetcher(FetchPolicy.parse("127.0.0.0/8"), FetchLimits(1_000_000, 5))
    with tiled(*BY_BOTH) as museum:
        with pytest.raises(CallerGone):
            IiifReader(fetcher, IiifBudget(9, 1_000_000, 1_000), require).fetch_image(f"{museum.url}/iiif/a", 224)
        assert len(museum.asked) == 3


def test_a_collection_of_many_manifests_streams() -> None:
    parts = [manifest(f"m{number}", canvas(f"{number}")) for number in range(3_000)]
    with Museum(top=collection("top", *parts)) as museum:
        canvases = reader(most_parts=10_000).pictures(f"{museum.url}/top")
        assert names(list(islice(canvases, 1))) == ["0"]
        assert sum(1 for _ in canvases) == 2_999
