"""URIs and information of the Image API in all its versions, the size that is asked for, and the tiles that serve."""

from typing import Any

import pytest

from service.errors import ImageFetchFailed
from service.iiif.image_api import (
    MOST_TILES,
    ImageInformation,
    ImageUri,
    TileGrid,
    base_uri,
    is_image_information,
    is_image_service,
    smallest_grid,
)

BASE = "https://museum.example/iiif/a%2Fb"
SECOND = "http://iiif.io/api/image/2/context.json"
THIRD = "http://iiif.io/api/image/3/context.json"
FIRST = "http://library.stanford.edu/iiif/image-api/1.1/context.json"

Sizes = list[dict[str, Any]]


def sizes(*pairs: tuple[int, int]) -> Sizes:
    return [{"width": width, "height": height} for width, height in pairs]


def second(level: int = 2, width: int = 6000, height: int = 4000, **more: Any) -> dict[str, Any]:
    """Return the information of version 2; its limits and features stand in the profile."""
    extra = {key: more.pop(key) for key in ("maxWidth", "maxHeight", "maxArea", "supports", "formats") if key in more}
    profile = [f"http://iiif.io/api/image/2/level{level}.json", *([extra] if extra else [])]
    return {"@context": SECOND, "@id": BASE, "width": width, "height": height, "profile": profile, **more}


def third(level: int = 2, width: int = 6000, height: int = 4000, **more: Any) -> dict[str, Any]:
    named = {"@context": THIRD, "id": BASE, "type": "ImageService3", "protocol": "http://iiif.io/api/image"}
    return {**named, "profile": f"level{level}", "width": width, "height": height, **more}


def asked(document: dict[str, Any], short_side: int = 224) -> str:
    """Return what is asked for below the base URI."""
    information = ImageInformation.read(document, BASE)
    request = next(information.requests(short_side))
    assert isinstance(request, str)
    url = information.url(BASE, request)
    assert url.startswith(f"{BASE}/full/")
    return url.removeprefix(f"{BASE}/full/")


def all_asked(document: dict[str, Any], short_side: int = 224) -> list[str]:
    """Return all that is asked for below the base URI, where what comes before is not given."""
    requests = list(ImageInformation.read(document, BASE).requests(short_side))
    return [
        request.removeprefix("full/") if isinstance(request, str) else f"1/{request.factor}, {request.count} tiles"
        for request in requests
    ]


TILES = [{"width": 256, "scaleFactors": [1, 2, 4, 8, 16, 32]}]
LISTED = sizes((3000, 2000), (375, 250), (750, 500), (187, 125))


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (third(sizes=LISTED), "375,250/0/default.jpg"),
        (second(sizes=LISTED), "375,/0/default.jpg"),
        (third(0, sizes=LISTED), "375,250/0/default.jpg"),
        (second(0, sizes=LISTED), "375,/0/default.jpg"),
        (third(sizes=sizes((187, 125))), "336,/0/default.jpg"),
        (third(sizes=sizes((335, 223), (340, 224), (338, 225))), "338,225/0/default.jpg"),
        (third(sizes=sizes((335, 223), (336, 224), (338, 225))), "336,224/0/default.jpg"),
        (third(), "336,/0/default.jpg"),
        (second(1), "336,/0/default.jpg"),
        (third(1, 4000, 6000), "224,/0/default.jpg"),
        (third(1, 6000, 4001), "336,/0/default.jpg"),
        (third(1, 4001, 4000), "225,/0/default.jpg"),
        (third(0), "max/0/default.jpg"),
        (second(0), "full/0/default.jpg"),
        (third(0, sizes=sizes((187, 125))), "max/0/default.jpg"),
        (third(0, extraFeatures=["sizeByH", "sizeByW"]), "336,/0/default.jpg"),
        (second(0, supports=["sizeByW"]), "336,/0/default.jpg"),
        (third(0, extraFeatures="sizeByWh"), "max/0/default.jpg"),
    ],
)
def test_the_smallest_size_that_serves_is_asked_for(document: dict[str, Any], path: str) -> None:
    assert asked(document) == path


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (third(2, 300, 200), "max/0/default.jpg"),
        (second(2, 300, 200), "full/0/default.jpg"),
        (third(2, 300, 224), "max/0/default.jpg"),
        (second(2, 224, 224, sizes=sizes((224, 224))), "full/0/default.jpg"),
        (third(2, 300, 250, sizes=sizes((300, 250), (600, 500))), "max/0/default.jpg"),
        (second(2, 300, 250, sizes=sizes((600, 500))), "269,/0/default.jpg"),
        (third(2, 300, 200, sizes=sizes((150, 100), (600, 400))), "max/0/default.jpg"),
    ],
)
def test_never_more_than_the_image_itself(document: dict[str, Any], path: str) -> None:
    assert asked(document) == path


@pytest.mark.parametrize(
    ("limits", "whole", "served"),
    [
        ({"maxWidth": 336}, False, True),
        ({"maxWidth": 335}, False, False),
        ({"maxWidth": 400, "maxHeight": 224}, False, True),
        ({"maxWidth": 400, "maxHeight": 223}, False, False),
        ({"maxWidth": 6000, "maxHeight": 223}, False, False),
        ({"maxArea": 336 * 224}, False, True),
        ({"maxArea": 336 * 224 - 1}, False, False),
        ({"maxWidth": 6000, "maxArea": 24_000_000}, True, True),
    ],
)
def test_limits_of_the_server(limits: dict[str, int], whole: bool, served: bool) -> None:
    assert asked(third(**limits)) == ("336,/0/default.jpg" if served else "max/0/default.jpg")
    assert asked(second(**limits)) == ("336,/0/default.jpg" if served else "max/0/default.jpg")
    assert asked(second(0, **limits)) == ("full/0/default.jpg" if whole else "max/0/default.jpg")


@pytest.mark.parametrize("height", [224, 300])
def test_max_width_alone_bounds_the_height_too(height: int) -> None:
    tall = third(2, 1000, 1500, maxWidth=height)
    # 224 pixels wide is 336 high.
    assert asked(tall) == "max/0/default.jpg"
    assert asked({**tall, "maxHeight": 400}) == "224,/0/default.jpg"


def test_the_least_of_limits_that_are_said_twice_counts() -> None:
    assert asked({**second(maxWidth=400), "maxWidth": 300}) == "max/0/default.jpg"
    assert asked({**second(maxWidth=300), "maxWidth": 400}) == "max/0/default.jpg"
    assert asked({**second(maxWidth=400), "maxWidth": 500}) == "336,/0/default.jpg"


def test_a_listed_size_beyond_a_limit_is_not_asked_for() -> None:
    assert asked(third(sizes=sizes((750, 500)), maxWidth=400)) == "336,/0/default.jpg"


@pytest.mark.parametrize("short_side", [1, 187, 224, 336, 384, 518, 3999, 4000])
@pytest.mark.parametrize(("width", "height"), [(6000, 4000), (4000, 6001), (12_345, 4000), (4000, 123_457)])
def test_a_width_that_is_made_is_the_least_that_serves(width: int, height: int, short_side: int) -> None:
    size = asked(third(1, width, height), short_side).partition("/")[0]
    if size == "max":
        assert short_side == 4000
        return
    wide = int(size.removesuffix(","))
    assert min(wide, wide * height // width) >= short_side
    assert min(wide - 1, (wide - 1) * height / width) < short_side


@pytest.mark.parametrize(
    ("named", "version", "path"),
    [
        ({"@context": SECOND, "@id": BASE}, 2, "full"),
        ({"@context": THIRD, "id": BASE}, 3, "max"),
        ({"@context": ["http://museum.example/extension.json", THIRD], "id": BASE}, 3, "max"),
        ({"@context": [SECOND], "id": BASE}, 2, "full"),
        ({"protocol": "http://iiif.io/api/image", "@id": BASE}, 2, "full"),
        ({"protocol": "http://iiif.io/api/image", "id": BASE}, 3, "max"),
        ({"type": "ImageService3", "id": BASE}, 3, "max"),
        ({"@type": "ImageService2", "@id": BASE}, 2, "full"),
        ({"@context": FIRST, "@id": BASE}, 1, "full"),
        ({"protocol": "https://iiif.io/api/image/"}, 2, "full"),
        ({"protocol": "http://iiif.io/api/image", "profile": ["http://iiif.io/api/image/3/level0.json"]}, 3, "max"),
        ({"@type": "ImageService2", "id": BASE}, 2, "full"),
        ({"profile": "level0"}, 3, "max"),
        ({"profile": "http://library.stanford.edu/iiif/image-api/compliance.html#level0"}, 1, "full"),
    ],
)
def test_the_version_is_told_by_context_else_by_the_key_of_the_id(
    named: dict[str, Any], version: int, path: str
) -> None:
    information = ImageInformation.read({**named, "width": 400, "height": 300}, BASE)
    assert information.version == version
    quality = "native" if version == 1 else "default"
    assert information.url(BASE, next(iter(information.requests(224)))) == f"{BASE}/full/{path}/0/{quality}.jpg"  # type: ignore[arg-type]  # there are no tiles


@pytest.mark.parametrize(
    ("given", "asked_under", "base"),
    [
        ("https://b.example/c", "https://a.example/b", "https://b.example/c"),
        ("https://b.example/c/", "https://a.example/b", "https://b.example/c"),
        ("https://b.example/c/info.json", "https://a.example/b", "https://b.example/c"),
        ("http://a.example/b", "https://a.example/b", "https://a.example/b"),
        ("https://a.example/iiif/b/c", "https://a.example/iiif/b%2Fc", "https://a.example/iiif/b%2Fc"),
        ("http://a.example/iiif/b%2Fc", "https://a.example/iiif/b/c", "https://a.example/iiif/b%2Fc"),
        ("https://a.example/Émile c", "https://a.example/b", "https://a.example/%C3%89mile%20c"),
        ("javascript:alert(1)", "https://a.example/b", "https://a.example/b"),
        ("/iiif/b", "https://a.example/b", "https://a.example/b"),
        (None, "https://a.example/b", "https://a.example/b"),
        (["https://b.example/c"], "https://a.example/b", "https://a.example/b"),
    ],
)
def test_the_base_is_the_documents_id_where_that_is_another(given: object, asked_under: str, base: str) -> None:
    document = third(id=given)
    assert ImageInformation.read(document, asked_under).bases == tuple(dict.fromkeys((base, asked_under)))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"width": 10, "height": 10},
        {"width": 10, "height": 10, "profile": "level7", "protocol": "http://museum.example/api/image"},
        {"@context": "http://iiif.io/api/presentation/3/context.json", "width": 10, "height": 10},
        {"@context": {"a": 1}, "width": 10, "height": 10},
    ],
)
def test_what_describes_no_image(document: dict[str, Any]) -> None:
    with pytest.raises(ImageFetchFailed, match="no IIIF image information"):
        ImageInformation.read(document, BASE)


@pytest.mark.parametrize("width", [None, 0, -1, True, 6000.5, float("inf"), 10**30, "", "wide", "９" * 30, [6000], {}])
def test_an_image_of_unknown_size_is_asked_for_as_it_is_given(width: object) -> None:
    unknown = {"width": width, "height": 4000}
    assert all_asked({**third(), **unknown}) == ["max", "full"]
    assert all_asked({**second(), **unknown}) == ["full", "max"]
    assert all_asked({**second(sizes=LISTED, maxWidth=400), **unknown})[0] == "375,"
    assert is_image_information({**third(), **unknown})
    assert all_asked({**third(), "height": width}) == ["max", "full"]


@pytest.mark.parametrize("width", ["6000", " 6000 ", 6000.0])
def test_numbers_that_are_written_otherwise(width: object) -> None:
    said = {**third(), "width": width, "sizes": [{"width": "375", "height": "250"}]}
    assert all_asked(said)[0] == "375,250"
    assert asked({**third(), "width": width}) == "336,/0/default.jpg"
    assert asked({**third(), "maxWidth": "335"}) == "max/0/default.jpg"


@pytest.mark.parametrize(
    ("document", "requests"),
    [
        (third(), ["336,", "336,224", "max", "full"]),
        (second(), ["336,", "336,224", "full", "max"]),
        (second(sizes=LISTED), ["375,", "336,", "750,", "375,250", "336,224", "750,500", "full", "max"]),
        (third(sizes=LISTED), ["375,250", "336,", "750,500", "375,", "336,224", "750,", "max", "full"]),
        (third(sizes=sizes((3000, 2000))), ["336,", "3000,2000", "336,224", "3000,", "max", "full"]),
        (third(0, sizes=LISTED), ["375,250", "750,500", "375,", "750,", "max", "full"]),
        (third(maxWidth=300), ["max", "full"]),
        (second(maxWidth=300), ["max", "full"]),
        (third(2, 300, 200), ["max", "full"]),
        (third(2, 300, 250, sizes=sizes((300, 250))), ["max", "full", "269,", "269,224"]),
    ],
)
def test_what_follows_where_a_server_does_not_give_what_it_says(document: dict[str, Any], requests: list[str]) -> None:
    assert all_asked(document) == requests


@pytest.mark.parametrize(
    ("document", "requests"),
    [
        (third(0, tiles=TILES), ["1/16, 2 tiles", "max", "full"]),
        (second(0, tiles=TILES), ["1/16, 2 tiles", "full", "max"]),
        (third(0, tiles=TILES, sizes=sizes((187, 125))), ["1/16, 2 tiles", "max", "full"]),
        (third(0, tiles=TILES, sizes=sizes((375, 250))), ["375,250", "375,", "1/16, 2 tiles", "max", "full"]),
        (third(0, 300, 250, tiles=TILES), ["max", "full", "1/1, 2 tiles"]),
        (third(2, tiles=TILES), ["336,", "336,224", "max", "full", "1/16, 2 tiles"]),
        (third(0, tiles=[{"width": 256}]), ["max", "full"]),
        ({**third(0, tiles=TILES), "width": None}, ["max", "full"]),
    ],
)
def test_tiles_come_before_the_whole_where_nothing_else_is_made_of_it(
    document: dict[str, Any], requests: list[str]
) -> None:
    assert all_asked(document) == requests


@pytest.mark.parametrize(
    "broken",
    [
        {"sizes": "375,250"},
        {"sizes": [None, 1, "a", [], {"width": 375}, {"width": "375", "height": "a"}, {"width": -1, "height": 300}]},
        {"sizes": {"width": 1, "height": 1}},
        {"maxWidth": "ten", "maxHeight": -1, "maxArea": None},
        {"extraFeatures": {"sizeByW": 1}},
    ],
)
def test_what_is_broken_in_an_information_is_left_out(broken: dict[str, Any]) -> None:
    assert asked(third(**broken)) == "336,/0/default.jpg"


@pytest.mark.parametrize("profile", [None, 2, [], {}, "level7", [{"formats": ["jpg"]}], [["level2"]]])
def test_who_says_nothing_of_a_level_makes_no_sizes(profile: object) -> None:
    assert asked({**third(), "profile": profile}) == "max/0/default.jpg"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (third(0), "jpg"),
        (second(0, formats=["webp"]), "webp"),
        (third(0, extraFormats=["webp", "jpg"]), "jpg"),
        (third(0, preferredFormats=["png"], extraFormats=["png", "webp"]), "png"),
        (third(0, preferredFormats=["pdf"]), "jpg"),
        (third(2, preferredFormats=["webp"]), "jpg"),
        (third(0, preferredFormats=[7, None, {}]), "jpg"),
    ],
)
def test_another_format_is_asked_for_where_jpeg_is_not_at_hand(document: dict[str, Any], expected: str) -> None:
    information = ImageInformation.read(document, BASE)
    assert information.url(BASE, "full/max") == f"{BASE}/full/max/0/default.{expected}"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (f"{BASE}/info.json", ImageUri(BASE, image=False, own=False)),
        (f"{BASE}/info.json#a", ImageUri(BASE, image=False, own=False)),
        ("http://a.example/i.fcgi?IIIF=b.tif/info.json", ImageUri("http://a.example/i.fcgi?IIIF=b.tif", False, False)),
        *(
            (f"{BASE}/full/{size}/0/default.{kind}", ImageUri(BASE, image=True, own=False))
            for size in ("full", "max", "^max", "512,", ",512", "512,512", "!512,512", "^!512,512", "pct:12.5")
            for kind in ("jpg", "png", "tif")
        ),
        *(
            (f"{BASE}/{own}", ImageUri(BASE, image=True, own=True))
            for own in (
                *("square/max/0/default.jpg", "0,0,100,100/max/0/default.jpg", "pct:1.5,2,30,40/full/0/default.jpg"),
                *("full/max/90/default.jpg", "full/max/!0/default.jpg", "full/max/22.5/default.jpg"),
                *("full/max/0/gray.jpg", "full/max/0/bitonal.png", "full/max/0/color.jpg", "full/full/0/native.jpg"),
            )
        ),
        (BASE, None),
        (f"{BASE}/", None),
        (f"{BASE}/manifest.json", None),
        (f"{BASE}/full/max/0/default", None),
        (f"{BASE}/full/max/default.jpg", None),
        (f"{BASE}/full/max/0/default.jpg?download=1", ImageUri(BASE, image=True, own=False)),
        (f"{BASE}/info.json?token=a", ImageUri(BASE, image=False, own=False)),
        (f"{BASE}/info.json?a/b", None),
        ("https://a.example/full/max/0.jpg", None),
        ("full/max/0/default.jpg", None),
        ("https://a.example/" + "a" * 3000 + "/info.json", None),
        ("", None),
    ],
)
def test_forms_of_a_uri(text: str, form: ImageUri | None) -> None:
    assert ImageUri.parse(text) == form


@pytest.mark.parametrize("written", [BASE, f"{BASE}/", f"{BASE}/info.json", f"{BASE}#a", f"{BASE}/info.json?token=a"])
def test_a_base_uri_however_it_is_written(written: str) -> None:
    assert base_uri(written) == BASE


@pytest.mark.parametrize(
    ("entry", "spoken"),
    [
        ({"type": "ImageService3"}, True),
        ({"@type": "ImageService2"}, True),
        ({"@type": "ImageService1"}, True),
        ({"@context": SECOND}, True),
        ({"@context": FIRST}, True),
        ({"profile": "http://iiif.io/api/image/2/level0.json"}, True),
        ({"profile": "level2"}, True),
        ({"profile": "http://library.stanford.edu/iiif/image-api/compliance.html#level2"}, True),
        ({"protocol": "https://iiif.io/api/image/"}, True),
        ({"profile": ["http://iiif.io/api/image/2/level2.json", {}]}, True),
        ({"profile": "http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level1"}, True),
        ({"type": "SearchService2"}, False),
        ({"@context": "http://iiif.io/api/auth/1/context.json", "profile": "http://iiif.io/api/auth/1/login"}, False),
        ({"profile": 3}, False),
        ({}, False),
    ],
)
def test_which_services_give_images(entry: dict[str, Any], spoken: bool) -> None:
    assert is_image_service(entry) is spoken


def test_only_what_has_a_width_and_a_height_is_an_information() -> None:
    assert is_image_information(third())
    assert is_image_information(second())
    assert not is_image_information({"@context": THIRD, "id": BASE})
    assert not is_image_information({"type": "Canvas", "width": 1, "height": 1})


SIZE = (6000, 4000)


def tiles(*factors: Any, **more: Any) -> dict[str, Any]:
    return {"tiles": [{"width": 512, "scaleFactors": list(factors), **more}]}


def grid(document: dict[str, Any], short_side: int = 224, size: tuple[int, int] = SIZE) -> TileGrid | None:
    return smallest_grid(document, 3, *size, short_side)


@pytest.mark.parametrize(
    ("short_side", "factor", "count"),
    [(100, 32, 1), (125, 32, 1), (126, 16, 1), (224, 16, 1), (500, 8, 2), (501, 4, 6)],
)
def test_the_smallest_picture_that_serves_is_put_together(short_side: int, factor: int, count: int) -> None:
    found = grid(tiles(1, 2, 4, 8, 16, 32), short_side)
    assert found
    assert (found.factor, found.count) == (factor, count)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (tiles(16, height=128), ((512, 128), 16)),
        (tiles("16", 0, -4, None, 1.5, "a", 2**40), ((512, 512), 16)),
        ({"tiles": {"width": "512", "scaleFactors": [16]}}, ((512, 512), 16)),
        ({"tiles": [{"height": 512, "scaleFactors": [16]}]}, ((512, 512), 16)),
        ({"tiles": [{"width": 100, "scaleFactors": [16]}, {"width": 300, "scaleFactors": [16]}]}, ((300, 300), 16)),
        ({"tile_width": 256, "tile_height": 128, "scale_factors": [1, 16]}, ((256, 128), 16)),
        (tiles(32, 64), ((512, 512), 32)),
        ({"tiles": [{"width": 6000, "height": 1000}]}, ((6000, 1000), 1)),
        ({"tiles": [{"width": 6000, "height": 1000, "scaleFactors": []}]}, ((6000, 1000), 1)),
    ],
)
def test_tiles_however_they_are_told(document: dict[str, Any], found: tuple[tuple[int, int], int]) -> None:
    size = (6000, 1000) if found[1] == 1 else SIZE
    best = grid(document, size=size)
    assert best
    assert (best.tile, best.factor) == found


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"tiles": None},
        {"tiles": ["a", 7, None, []]},
        {"tiles": [{"width": 512}, {"scaleFactors": [16]}, {"width": 0, "scaleFactors": [1]}]},
        {"tiles": [{"width": 512, "scaleFactors": "16"}, {"width": 512, "scaleFactors": {}}]},
        {"tile_width": 256},
        tiles(*[1] * 64, 16),
        {"tiles": [{"width": 512, "scaleFactors": [1]}] * 16 + [{"width": 512, "scaleFactors": [16]}]},
        {"tiles": [{"width": 1, "scaleFactors": [16]}]},
        tiles(1),
    ],
)
def test_no_tiles_that_can_be_put_together(document: dict[str, Any]) -> None:
    assert grid(document) is None


def test_neither_tiles_nor_pixels_are_more_than_are_put_together() -> None:
    for side in range(1, 600):
        found = smallest_grid({"tiles": [{"width": side, "scaleFactors": [1]}]}, 3, 2000, 3000, 224)
        assert (found is None) is (-(-2000 // side) * -(-3000 // side) > MOST_TILES)
    assert smallest_grid({"tiles": [{"width": 2**30, "scaleFactors": [1]}]}, 3, 4000, 2000, 224)
    assert smallest_grid({"tiles": [{"width": 2**30, "scaleFactors": [1]}]}, 3, 4000, 2001, 224) is None


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8, 7])
@pytest.mark.parametrize("size", [(1000, 700), (1024, 512), (1025, 513), (7, 900)])
def test_tiles_cover_the_image_once(size: tuple[int, int], factor: int) -> None:
    found = TileGrid(3, *size, (256, 128), factor)
    boxes = list(found.boxes())
    assert len(boxes) == found.count
    assert sum(wide * high for _, _, wide, high in boxes) == found.size[0] * found.size[1]
    covered = 0
    for box in boxes:
        region, size_asked = found.forms(box)[-2 if factor > 1 else -3].split("/")
        x, y, wide, high = map(int, region.split(","))
        assert (x, y) == (box[0] * factor, box[1] * factor)
        # As the specification's notes have it: rounded up.
        assert size_asked == f"{-(-wide // factor)},{-(-high // factor)}"
        covered += wide * high
    assert covered == size[0] * size[1]


@pytest.mark.parametrize(
    ("version", "factor", "box", "forms"),
    [
        (2, 4, (0, 0, 256, 256), ("0,0,1024,1024/256,", "0,0,1024,1024/256,256")),
        (3, 4, (0, 0, 256, 256), ("0,0,1024,1024/256,256", "0,0,1024,1024/256,")),
        (3, 4, (256, 256, 244, 119), ("1024,1024,976,476/244,119", "1024,1024,976,476/244,")),
        (2, 1, (0, 0, 256, 256), ("0,0,256,256/256,", "0,0,256,256/256,256", "0,0,256,256/full")),
        (3, 1, (0, 0, 256, 256), ("0,0,256,256/256,256", "0,0,256,256/256,", "0,0,256,256/max")),
        (
            2,
            8,
            (0, 0, 250, 188),
            ("full/250,", "full/250,188", "0,0,2000,1500/250,", "0,0,2000,1500/250,188"),
        ),
        (
            3,
            8,
            (0, 0, 250, 188),
            ("full/250,188", "full/250,", "0,0,2000,1500/250,188", "0,0,2000,1500/250,"),
        ),
    ],
)
def test_how_a_tile_is_asked_for(version: int, factor: int, box: tuple[int, int, int, int], forms: tuple[str]) -> None:
    assert TileGrid(version, 2000, 1500, (256, 256), factor).forms(box) == forms
