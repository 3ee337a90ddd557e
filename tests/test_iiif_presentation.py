"""Manifests and collections of versions 2 and 3, whole and broken: what they hold, in their order.

The documents are of this project; their structure is that of the Presentation API's specifications.
"""

from typing import Any

import pytest

from service.errors import ImageFetchFailed
from service.iiif.presentation import Broken, Canvas, Part, entries

HERE = "https://museum.example/iiif"
FOUND_AT = "https://museum.example/found"
SERVICE_2 = {
    "@context": "http://iiif.io/api/image/2/context.json",
    "@id": f"{HERE}/image/1",
    "profile": "http://iiif.io/api/image/2/level2.json",
}
SERVICE_3 = {"id": f"{HERE}/image/1", "type": "ImageService3", "profile": "level2"}
PICTURE = {"id": f"{HERE}/1.jpg", "type": "Image", "format": "image/jpeg"}
SERVED = (f"{HERE}/image/1", True, f"{HERE}/1.jpg")
SERVED_ONLY = (f"{HERE}/image/1", True, None)
OWN = (f"{HERE}/1.jpg", False, None)


def third_canvas(body: Any, motivation: Any = "painting", number: int = 1, **more: Any) -> dict[str, Any]:
    annotation = {"type": "Annotation", "motivation": motivation, "body": body, "target": f"{HERE}/canvas/{number}"}
    return {
        "id": f"{HERE}/canvas/{number}",
        "type": "Canvas",
        "label": {"en": [f"page {number}"]},
        "height": 3000,
        "width": 2000,
        "items": [{"id": f"{HERE}/page/{number}", "type": "AnnotationPage", "items": [annotation]}],
        **more,
    }


def third_manifest(*canvases: Any, **more: Any) -> dict[str, Any]:
    context = "http://iiif.io/api/presentation/3/context.json"
    return {"@context": context, "id": f"{HERE}/manifest", "type": "Manifest", "items": list(canvases), **more}


def second_canvas(resource: Any, motivation: Any = "sc:painting", number: int = 1, **more: Any) -> dict[str, Any]:
    annotation = {"@type": "oa:Annotation", "motivation": motivation, "resource": resource}
    return {
        "@id": f"{HERE}/canvas/{number}",
        "@type": "sc:Canvas",
        "label": f"page {number}",
        "images": [annotation],
        **more,
    }


def second_manifest(*canvases: Any, **more: Any) -> dict[str, Any]:
    return {
        "@context": "http://iiif.io/api/presentation/2/context.json",
        "@id": f"{HERE}/manifest",
        "@type": "sc:Manifest",
        "sequences": [{"@type": "sc:Sequence", "canvases": list(canvases)}, {"@id": f"{HERE}/other-order"}],
        **more,
    }


def second_picture(**more: Any) -> dict[str, Any]:
    return {"@id": f"{HERE}/1.jpg", "@type": "dctypes:Image", **more}


def only(document: dict[str, Any]) -> Canvas | Broken | Part:
    [entry] = entries(document, FOUND_AT)
    return entry


def canvas(image: tuple[str, bool, str | None], number: int = 1) -> Canvas:
    return Canvas(f"{HERE}/canvas/{number}", f"page {number}", f"{HERE}/manifest", *image)


@pytest.mark.parametrize(
    ("body", "image"),
    [
        (PICTURE, OWN),
        ([PICTURE], OWN),
        ({**PICTURE, "service": [SERVICE_3]}, SERVED),
        ({**PICTURE, "service": SERVICE_3}, SERVED),
        ({**PICTURE, "service": [SERVICE_2]}, SERVED),
        ({**PICTURE, "service": [{"@id": f"{HERE}/image/1", "@type": "ImageService2"}]}, SERVED),
        ({**PICTURE, "service": [{"@id": f"{HERE}/image/1/", "@type": "ImageService1"}]}, SERVED),
        ({**PICTURE, "service": [{"id": f"{HERE}/image/1/info.json", "type": "ImageService3"}]}, SERVED),
        ({**PICTURE, "service": [{"id": f"{HERE}/search", "type": "SearchService2"}, SERVICE_3]}, SERVED),
        ({**PICTURE, "service": [{"id": f"{HERE}/search", "type": "SearchService2"}]}, OWN),
        ({**PICTURE, "service": [{"id": "javascript:alert(1)", "type": "ImageService3"}]}, OWN),
        ({**PICTURE, "service": f"{HERE}/image/1"}, OWN),
        ({"type": "Image", "service": [SERVICE_3]}, SERVED_ONLY),
        ({"service": SERVICE_3}, SERVED_ONLY),
        ({"type": "Choice", "items": [PICTURE, {**PICTURE, "id": f"{HERE}/infrared.jpg"}]}, OWN),
        ({"type": "Choice", "items": [{"id": f"{HERE}/a.mp4", "type": "Video"}, PICTURE]}, OWN),
        ({"type": "Choice", "items": [{**PICTURE, "service": [SERVICE_3]}, PICTURE]}, SERVED),
        ({"type": "SpecificResource", "source": PICTURE, "selector": {"type": "ImageApiSelector"}}, OWN),
        ([{"type": "TextualBody", "value": "a"}, PICTURE], OWN),
    ],
)
def test_the_picture_of_a_canvas_of_version_3(body: Any, image: tuple[str, bool, str | None]) -> None:
    assert only(third_manifest(third_canvas(body))) == canvas(image)
    assert only(third_manifest(third_canvas(body, ["painting"]))) == canvas(image)


@pytest.mark.parametrize(
    ("resource", "image"),
    [
        (second_picture(), OWN),
        (second_picture(service=SERVICE_2), SERVED),
        (second_picture(service=[SERVICE_2]), SERVED),
        (second_picture(service={"@id": f"{HERE}/image/1", "profile": SERVICE_2["profile"]}), SERVED),
        (second_picture(service={"@id": f"{HERE}/image/1", "profile": "http://museum.example/other"}), OWN),
        ({"@type": "oa:Choice", "default": second_picture(), "item": [second_picture(service=SERVICE_2)]}, OWN),
        ({"@type": "oa:Choice", "item": [second_picture(service=SERVICE_2), second_picture()]}, SERVED),
        ({"@type": "oa:SpecificResource", "full": second_picture(service=SERVICE_2)}, SERVED),
    ],
)
def test_the_picture_of_a_canvas_of_version_2(resource: Any, image: tuple[str, bool, str | None]) -> None:
    assert only(second_manifest(second_canvas(resource))) == canvas(image)


def nested(times: int) -> Any:
    return PICTURE if not times else {"type": "Choice", "items": [nested(times - 1)]}


@pytest.mark.parametrize(
    "body",
    [
        None,
        "1.jpg",
        7,
        [],
        {},
        [[PICTURE]],
        {**PICTURE, "id": ""},
        {**PICTURE, "id": "//[::1/1.jpg"},
        {**PICTURE, "id": "javascript:alert(1)"},
        {**PICTURE, "id": "data:image/png;base64,AAAA"},
        {**PICTURE, "id": 7},
        {**PICTURE, "id": "https://museum.example/" + "a" * 3000},
        {**PICTURE, "type": "Video"},
        {"type": "Choice", "items": []},
        {"type": "Choice", "items": "a"},
        {"type": "SpecificResource", "source": "a"},
        nested(5),
    ],
)
def test_a_canvas_with_no_picture_is_told_by_its_id(body: Any) -> None:
    for broken in (only(third_manifest(third_canvas(body))), only(second_manifest(second_canvas(body)))):
        assert isinstance(broken, Broken)
        assert broken.id == f"{HERE}/canvas/1"
        assert broken.error.detail == "No image that can be fetched is painted on this canvas."


@pytest.mark.parametrize(
    "body",
    [
        f"{HERE}/1.jpg",
        [{"type": "TextualBody", "value": "Recto"}, f"{HERE}/1.jpg"],
        {"type": "SpecificResource", "source": f"{HERE}/1.jpg"},
        {"type": "Choice", "items": [f"{HERE}/1.jpg"]},
        {"id": f" {HERE}/1.jpg\n", "type": "Image"},
        {"id": "iiif/1.jpg", "type": "Image"},
        {"id": "/iiif/1.jpg", "type": "Image"},
        {"id": "//museum.example/iiif/1.jpg", "type": "http://purl.org/dc/dcmitype/StillImage"},
    ],
)
def test_a_picture_may_be_given_by_its_address_alone_or_beside_the_document(body: Any) -> None:
    [canvas] = entries(third_manifest(third_canvas(body)), FOUND_AT)
    assert isinstance(canvas, Canvas)
    assert (canvas.image, canvas.is_service, canvas.own_image) == OWN


@pytest.mark.parametrize("motivation", ["http://iiif.io/api/presentation/2#painting", "Painting", ["oa:painting"]])
def test_painting_is_known_by_all_its_names(motivation: Any) -> None:
    [canvas] = entries(third_manifest(third_canvas(PICTURE, motivation)), FOUND_AT)
    assert isinstance(canvas, Canvas)


def test_a_type_may_be_written_out() -> None:
    manifest = third_manifest(third_canvas(PICTURE), type="http://iiif.io/api/presentation/3#Manifest")
    assert [type(entry) for entry in entries(manifest, FOUND_AT)] == [Canvas]


def test_choices_may_nest_a_little() -> None:
    assert only(third_manifest(third_canvas(nested(4)))) == canvas(OWN)


@pytest.mark.parametrize("motivation", ["commenting", ["tagging"], {}, 7, [None], [], "paintings", "unpainting"])
def test_only_what_paints_counts(motivation: Any) -> None:
    assert isinstance(only(third_manifest(third_canvas(PICTURE, motivation))), Broken)
    assert isinstance(only(second_manifest(second_canvas(second_picture(), motivation))), Broken)


def test_what_does_not_say_what_it_does_on_a_canvas_paints_it() -> None:
    for unsaid in (third_canvas(PICTURE, None), second_canvas(second_picture(), None)):
        for annotation in (*unsaid.get("images", ()), *(unsaid["items"][0]["items"] if "items" in unsaid else ())):
            del annotation["motivation"]
        manifest = third_manifest if "items" in unsaid else second_manifest
        assert only(manifest(unsaid)) == canvas(OWN)
    # What says that it paints comes first.
    other, said = third_canvas({**PICTURE, "id": f"{HERE}/2.jpg"}, None), third_canvas(PICTURE)
    assert only(third_manifest({**said, "items": [*other["items"], *said["items"]]})) == canvas(OWN)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("urn:uuid:1f6a", "urn:uuid:1f6a"),
        ("URN:NBN:de:1", "URN:NBN:de:1"),
        ("info:lc/1", "info:lc/1"),
        *((other, None) for other in ("canvas/1", "#1", "/canvas/1", "", "javascript:alert(1)", "data:,a")),
        *((other, None) for other in ("urn:a\nb", "urn:\ud800", "urn:" + "a" * 3000)),
        (None, None),
        (7, None),
    ],
)
def test_a_canvas_whose_id_is_no_address_is_ranked(own: Any, expected: str | None) -> None:
    """Under its name where that is one anywhere, else under that of its manifest and its place in it."""
    for manifest, given, key, path in (
        (third_manifest, third_canvas(PICTURE), "id", "/items/0"),
        (second_manifest, second_canvas(second_picture()), "@id", "/sequences/0/canvases/0"),
    ):
        named = Canvas(expected or f"{HERE}/manifest#{path}", "page 1", f"{HERE}/manifest", *OWN)
        assert only(manifest({**given, key: own})) == named
    unnamed = {key: value for key, value in third_canvas(PICTURE).items() if key != "id"}
    assert only(third_manifest(unnamed)) == Canvas(f"{HERE}/manifest#/items/0", "page 1", f"{HERE}/manifest", *OWN)


def without_type(document: Any) -> Any:
    """Return a document of which no part says what it is."""
    if isinstance(document, list):
        return list(map(without_type, document))
    if isinstance(document, dict):
        return {key: without_type(value) for key, value in document.items() if key not in ("type", "@type")}
    return document


def test_documents_that_leave_out_what_they_are() -> None:
    for manifest, own in ((third_manifest, third_canvas(PICTURE)), (second_manifest, second_canvas(second_picture()))):
        untyped = manifest(own)
        del untyped["type" if "type" in untyped else "@type"]
        assert only(untyped) == canvas(OWN)
        assert only(without_type(manifest(own))) == canvas(OWN)
    for key in ("members", "manifests", "collections"):
        assert only({key: [f"{HERE}/manifest/1"]}) == Part(f"{HERE}/manifest/1")
    assert only({"items": [{"id": f"{HERE}/manifest/1", "type": "Manifest"}]}) == Part(f"{HERE}/manifest/1")


def test_the_first_painting_that_has_a_picture_is_taken() -> None:
    of_text, of_picture = third_canvas({"type": "Text"}), third_canvas(PICTURE)
    several = {**of_text, "items": [*of_text["items"], None, {"items": 7}, *of_picture["items"]]}
    assert only(third_manifest(several)) == canvas(OWN)


@pytest.mark.parametrize(
    ("entry", "where", "told"),
    [
        (None, f"{HERE}/manifest#{{}}/0", "no canvas"),
        ("https://museum.example/canvas", f"{HERE}/manifest#{{}}/0", "no canvas"),
        ({"id": f"{HERE}/range", "type": "Range"}, f"{HERE}/manifest#{{}}/0", "no canvas"),
        ({"type": "Canvas"}, f"{HERE}/manifest#{{}}/0", "No image"),
        ({}, f"{HERE}/manifest#{{}}/0", "No image"),
        ({"id": "canvas/1", "type": "Canvas"}, f"{HERE}/manifest#{{}}/0", "No image"),
        ({"id": "javascript:alert(1)", "type": "Canvas"}, f"{HERE}/manifest#{{}}/0", "No image"),
    ],
)
def test_broken_canvases_are_told_by_their_place_and_the_others_follow(entry: Any, where: str, told: str) -> None:
    for manifest, path, good in (
        (third_manifest, "/items", third_canvas(PICTURE)),
        (second_manifest, "/sequences/0/canvases", second_canvas(second_picture())),
    ):
        broken, following = entries(manifest(entry, good), FOUND_AT)
        assert isinstance(broken, Broken)
        assert broken.id == where.format(path)
        assert told in broken.error.detail
        assert following == canvas(OWN)


@pytest.mark.parametrize("held", [{"items": 7}, {"items": {}}, {"items": None}, {"sequences": 7}, {"sequences": [7]}])
def test_a_manifest_without_canvases_is_told(held: dict[str, Any]) -> None:
    broken = only({"type": "Manifest", **held})
    assert isinstance(broken, Broken)
    assert broken.id == FOUND_AT
    assert "no canvases" in broken.error.detail


def test_an_empty_manifest_holds_nothing() -> None:
    assert list(entries(third_manifest(), FOUND_AT)) == []
    assert list(entries(second_manifest(), FOUND_AT)) == []


@pytest.mark.parametrize("own", ["manifest.json", "javascript:alert(1)", None, 7])
def test_a_manifest_with_no_id_of_its_own_is_named_by_where_it_was_found(own: Any) -> None:
    found = only(third_manifest(third_canvas(PICTURE), id=own))
    assert isinstance(found, Canvas)
    assert found.manifest == FOUND_AT


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"items": [{"id": f"{HERE}/1"}]},
        third_canvas(PICTURE),
        {"type": "Range", "items": [third_canvas(PICTURE)]},
        {"type": "Canvas"},
        {"type": "AnnotationPage"},
        {"@type": ["a"]},
        {"type": None},
        {"items": []},
    ],
)
def test_what_is_neither_manifest_nor_collection(document: dict[str, Any]) -> None:
    with pytest.raises(ImageFetchFailed, match="neither"):
        entries(document, FOUND_AT)


def test_a_collection_of_version_3_lists_what_it_holds_and_what_it_refers_to() -> None:
    embedded = third_manifest(third_canvas(PICTURE))
    unnamed = {"type": "Collection", "items": []}
    collection = {
        "id": f"{HERE}/top",
        "type": "Collection",
        "items": [
            {"id": f"{HERE}/manifest/1", "type": "Manifest", "label": {"en": ["a"]}},
            embedded,
            {"id": f"{HERE}/collection/1", "type": "Collection"},
            unnamed,
            {"id": "manifest/2", "type": "Manifest"},
            {"id": "javascript:alert(1)", "type": "Manifest"},
            7,
        ],
    }
    listed = list(entries(collection, FOUND_AT))
    assert listed[:4] == [
        Part(f"{HERE}/manifest/1"),
        Part(f"{HERE}/manifest", embedded),
        Part(f"{HERE}/collection/1"),
        Part(f"{HERE}/top#/items/3", unnamed),
    ]
    assert [entry.id for entry in listed[4:] if isinstance(entry, Broken)] == [
        f"{HERE}/top#/items/{place}" for place in (4, 5, 6)
    ]


def test_a_collection_of_version_2_lists_members_collections_and_manifests() -> None:
    embedded = second_manifest()
    collection = {
        "@id": f"{HERE}/top",
        "@type": "sc:Collection",
        "manifests": [{"@id": f"{HERE}/manifest/2", "@type": "sc:Manifest"}, embedded, f"{HERE}/manifest/3", None],
        "collections": [{"@id": f"{HERE}/collection/1", "@type": "sc:Collection"}],
        "members": [{"@id": f"{HERE}/manifest/1", "@type": "sc:Manifest"}],
    }
    *parts, broken = entries(collection, FOUND_AT)
    assert parts == [
        Part(f"{HERE}/manifest/1"),
        Part(f"{HERE}/collection/1"),
        Part(f"{HERE}/manifest/2"),
        Part(f"{HERE}/manifest", embedded),
        Part(f"{HERE}/manifest/3"),
    ]
    assert isinstance(broken, Broken)
    assert broken.id == f"{HERE}/top#/manifests/3"


def test_pages_of_a_collection_of_version_2_are_followed() -> None:
    page: dict[str, Any] = {"@type": "sc:Collection", "first": f"{HERE}/page/1"}
    assert only(page) == Part(f"{HERE}/page/1", follows=True)
    assert only({**page, "next": f"{HERE}/page/2"}) == Part(f"{HERE}/page/2", follows=True)
    broken = only({**page, "next": "page/2"})
    assert isinstance(broken, Broken)
    assert broken.id == f"{FOUND_AT}#/next"


def collection_entry(number: int) -> dict[str, Any]:
    return {"id": f"{HERE}/collection/{number}", "type": "Collection"}


def manifest_entry(number: int) -> dict[str, Any]:
    return {"id": f"{HERE}/manifest/{number}", "type": "Manifest"}


@pytest.mark.parametrize(
    ("listed", "follows"),
    [
        ([manifest_entry(1), manifest_entry(2), collection_entry(1)], True),
        ([{**manifest_entry(1), "items": []}, {**collection_entry(1), "items": []}], True),
        ([collection_entry(1)], False),
        ([collection_entry(1), collection_entry(2)], False),
        ([collection_entry(1), manifest_entry(1)], False),
        ([collection_entry(1), manifest_entry(1), collection_entry(2)], False),
        ([manifest_entry(1), manifest_entry(2)], False),
    ],
)
def test_one_collection_behind_manifests_is_the_next_page(listed: list[Any], follows: bool) -> None:
    *before, last = entries({"type": "Collection", "items": listed}, FOUND_AT)
    assert isinstance(last, Part)
    assert last.follows is follows
    assert not any(isinstance(part, Part) and part.follows for part in before)
    paged = {"type": "Collection", "items": listed, "next": f"{HERE}/page/2"}
    assert [part.follows for part in entries(paged, FOUND_AT) if isinstance(part, Part)] == [False] * len(listed) + [
        True
    ]


@pytest.mark.parametrize("held", [7, None, {}, "a"])
def test_a_collection_that_lists_nothing_is_told(held: Any) -> None:
    broken = only({"type": "Collection", "items": held})
    assert isinstance(broken, Broken)
    assert broken.id == FOUND_AT
    assert list(entries({"type": "Collection", "items": []}, FOUND_AT)) == []


@pytest.mark.parametrize(
    ("version", "selector", "image"),
    [
        (3, {"type": "ImageApiSelector", "region": "10,20,300,200"}, "10,20,300,200/max/0/default.jpg"),
        (3, {"type": "ImageApiSelector", "region": "square", "rotation": "90"}, "square/max/90/default.jpg"),
        (3, {"type": "ImageApiSelector", "region": "1,2,3,4", "rotation": 90}, "1,2,3,4/max/90/default.jpg"),
        (3, {"type": "ImageApiSelector", "rotation": "180"}, "full/max/180/default.jpg"),
        (2, [{"@type": "iiif:ImageApiSelector", "region": "pct:1,2,3,4"}], "pct:1,2,3,4/full/0/default.jpg"),
        (2, {"type": "FragmentSelector", "value": "xywh=1,2,3,4"}, "1,2,3,4/full/0/default.jpg"),
        (3, {"type": "FragmentSelector", "value": "xywh=percent:1,2.5,3,4"}, "pct:1,2.5,3,4/max/0/default.jpg"),
        (3, {"type": "ImageApiSelector", "region": "full", "rotation": "0"}, None),
        (3, {"type": "ImageApiSelector", "region": "../../secret"}, None),
        (3, {"type": "ImageApiSelector", "region": 7, "rotation": 90}, None),
        (3, {"type": "SvgSelector", "value": "<svg/>"}, None),
    ],
)
def test_part_of_an_image_that_is_painted_is_what_is_asked_for(
    version: int, selector: object, image: str | None
) -> None:
    context = f"http://iiif.io/api/image/{version}/context.json"
    source = {
        "id": "http://a/x.jpg",
        "type": "Image",
        "service": [{"@context": context, "@id": "http://a/iiif/x/", "profile": "level1"}],
    }
    body = {"type": "SpecificResource", "source": source, "selector": selector}
    annotation = {"type": "Annotation", "motivation": "painting", "body": body}
    canvas = {"id": "http://a/c", "type": "Canvas", "items": [{"type": "AnnotationPage", "items": [annotation]}]}
    [found] = entries({"id": "http://a/m", "type": "Manifest", "items": [canvas]}, "http://a/m")
    assert isinstance(found, Canvas)
    whole = ("http://a/iiif/x", True)
    assert (found.image, found.is_service) == ((f"http://a/iiif/x/{image}", False) if image else whole)
