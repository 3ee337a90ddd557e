"""Manifests, collections and images on a host on loopback: all their pictures, whatever that host sends."""

import json
import time
from itertools import islice
from typing import Any

import pytest

from service.errors import GazeError, ImageFetchFailed, ImageFetchTimeout, UrlNotAllowed
from service.iiif.allowance import Allowance
from service.iiif.presentation import Broken, Canvas
from service.iiif.reader import IiifReader
from service.images.addresses import FetchPolicy
from service.images.fetch import FetchLimits, ImageFetcher
from tests.iiif_tree import StaticHost
from tests.origin import Origin, http, moved, slowly

THIRD = {"@context": "http://iiif.io/api/image/3/context.json", "type": "ImageService3"}


def reader(most_parts: int = 100, most_depth: int = 4, allowed: str = "127.0.0.0/8", seconds: float = 5) -> IiifReader:
    fetcher = ImageFetcher(FetchPolicy.parse(allowed), FetchLimits(1_000_000, seconds))
    return IiifReader(fetcher, Allowance(most_parts, 100_000_000, 1_000_000), most_depth=most_depth)


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
            "This canvas has no id that is an http or https URI.",
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


@pytest.mark.parametrize(
    "uri", ["iiif/a", "iiif/a/", "iiif/a/info.json", "iiif/a/full/max/0/default.jpg", "iiif/a/full/10,/0/default.jpg"]
)
@pytest.mark.parametrize("base", ["redirects", "is nowhere", "is a page"])
def test_an_image_by_any_uri_of_its_own(uri: str, base: str) -> None:
    with Museum(**{"iiif/a/info.json": information()}) as museum:
        if base != "is nowhere":
            here = moved("/iiif/a/info.json", 303) if base == "redirects" else http(b"<html>")
            museum.host["/iiif/a"] = museum.host["/iiif/a/"] = here
        [found] = reader().pictures(f"{museum.url}/{uri}")
        assert isinstance(found, Canvas)
        assert (found.id, found.manifest, found.label) == (None, None, None)
        for image in (found, f"{museum.url}/{uri}"):
            assert reader().image_url(image, 224) == f"{museum.url}/iiif/a/full/299,/0/default.jpg"


@pytest.mark.parametrize("own", ["0,0,10,10/max/0", "full/max/90", "square/max/0"])
def test_a_part_and_a_turned_image_are_taken_as_they_are(own: str) -> None:
    with Museum() as museum:
        uri = f"{museum.url}/iiif/a/{own}/default.jpg"
        [found] = reader().pictures(uri)
        assert isinstance(found, Canvas)
        assert reader().image_url(found, 224) == uri
        assert museum.asked == []


@pytest.mark.parametrize("answer", [None, {}, {"type": "Manifest", "items": []}, information(width=0)])
def test_a_url_that_only_looks_like_one_of_iiif_is_taken_as_it_is(answer: Any) -> None:
    with Museum() as museum:
        if answer is not None:
            museum.add("a/info.json", answer)
        uri = f"{museum.url}/a/full/max/0/default.jpg"
        assert reader().image_url(uri, 224) == uri
        # There is nothing else that info.json or a base URI could be.
        for other in (f"{museum.url}/a", f"{museum.url}/a/info.json"):
            with pytest.raises(ImageFetchFailed):
                reader().image_url(other, 224)


def test_what_may_not_be_fetched_is_not_got_around_by_its_form() -> None:
    with Museum() as museum:
        museum.host["/a/info.json"] = moved("http://10.0.0.1/")
        with pytest.raises(UrlNotAllowed):
            reader().image_url(f"{museum.url}/a/full/max/0/default.jpg", 224)


def test_the_picture_of_a_canvas() -> None:
    service = {"id": "{host}/iiif/a/info.json", "type": "ImageService3"}
    bodies = (
        {"id": "{host}/a.jpg", "type": "Image", "service": [service]},
        {"id": "{host}/iiif/a/full/max/0/default.jpg", "type": "Image"},
        {"id": "{host}/a.jpg", "type": "Image"},
    )
    with Museum(m=manifest("m", *(canvas("c", body) for body in bodies))) as museum:
        museum.add("iiif/a/info.json", information())
        found = [entry for entry in reader().pictures(f"{museum.url}/m") if isinstance(entry, Canvas)]
        assert [reader().image_url(each, 224) for each in found] == [
            f"{museum.url}/iiif/a/full/299,/0/default.jpg",
            f"{museum.url}/iiif/a/full/299,/0/default.jpg",
            f"{museum.url}/a.jpg",
        ]


def test_a_service_on_another_host_is_asked_there() -> None:
    with Museum() as images, Museum() as museum:
        images.add("iiif/a/info.json", information())
        museum.host["/iiif/b/info.json"] = moved(f"{images.url}/iiif/a/info.json")
        assert reader().image_url(f"{museum.url}/iiif/b", 224) == f"{images.url}/iiif/a/full/299,/0/default.jpg"
        # The documents may say what they like; where pictures are fetched from is the fetcher's to allow.
        with pytest.raises(UrlNotAllowed):
            reader(allowed=museum.address).image_url(f"{museum.url}/iiif/b", 224)


def test_a_collection_of_many_manifests_streams() -> None:
    parts = [manifest(f"m{number}", canvas(f"{number}")) for number in range(3_000)]
    with Museum(top=collection("top", *parts)) as museum:
        canvases = reader(most_parts=10_000).pictures(f"{museum.url}/top")
        assert names(list(islice(canvases, 1))) == ["0"]
        assert sum(1 for _ in canvases) == 2_999
