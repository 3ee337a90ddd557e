"""Pictures of every format and from every place, good and bad."""

from collections.abc import Iterator

from PIL import Image

from fuzz import bombs
from fuzz.seeds import VARIANTS, picture, seeds
from tests.recorded.building import Asked, Builder, Part, in_base64, pictures, saved, undated

_EXTENSIONS = {"JPEG": "jpg", "JPEG2000": "jp2", "HEIF": "heic"}


def formats(to: Builder) -> Iterator[Asked]:
    """Pictures of every format, whole, cut, spoilt, and made to do harm."""
    phrases: list[Part] = [("phrases", phrase) for phrase in ("a red circle", "a blue square", "green stripes")]
    for file_format in VARIANTS:
        extension = _EXTENSIONS.get(file_format, file_format.lower())
        files = [undated(each) for each in seeds(file_format)]
        for number, content in enumerate(files):
            file = (f"{number}.{extension}", "application/octet-stream", content)
            yield to.form(f"{file_format} {number}", [("image", file), *phrases])
        first = files[0]
        middle = len(first) // 2
        spoilt = (
            *(("half", first[:middle]), ("head", first[:40]), ("with more", first + b"more"), ("twice", first * 2)),
            ("zeros", first[:middle] + bytes(len(first) - middle)),
            ("turned", first[: middle - 20] + first[middle - 20 : middle + 20][::-1] + first[middle + 20 :]),
        )
        for name, content in spoilt:
            yield to.json(f"{file_format} {name}", {"image": in_base64(content), "phrases": {"s": ["a", "b"]}})
    for number, (name, content) in enumerate(bombs.hand_made()):
        yield to.form(f"hand-made {number} {name}", [("image", ("x", "image/x", undated(content))), *phrases])
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = saved(picture("RGB", 9, (90, 60)), "JPEG", exif=exif)
        yield to.form(f"orientation {orientation}", [("image", ("t.jpg", "image/jpeg", turned)), *phrases])
    for width, height in ((1, 1), (1, 64), (400, 2), (3000, 10), (17, 5000), (2000, 1500)):
        flat = saved(picture("RGB", 9, (width, height)), "PNG")
        yield to.form(f"{width} × {height}", [("image", ("t.png", "image/png", flat)), *phrases])
        yield to.form(f"{width} × {height} padded", [("image", ("t.png", "image/png", flat)), *phrases, ("fit", "pad")])


def fetched(to: Builder) -> Iterator[Asked]:
    """Pictures by URL and by IIIF, from a host that is there and others that may not be asked."""
    phrases = {"s": ["a red circle", "a blue square", "green stripes"]}
    paths = (
        *("a.jpg", "b.png", "über größe.webp", "%C3%BCber%20gr%C3%B6%C3%9Fe.webp", "a.jpg?size=3#top", "moved", "none"),
        *("moved-away", "moved-to-file", "round", "nowhere", "text", "empty", "cut", "reset", "teapot", "broken"),
        *("later", "not-http", "packed", "chunked", "large"),
    )
    for path in paths:
        yield to.json(f"URL /{path}", {"image": {"url": f"{to.origin}/{path}"}, "phrases": phrases})
    for url in (
        *(
            "file:///etc/passwd",
            "ftp://127.0.0.1/a",
            "http://10.0.0.1/a.jpg",
            "http://169.254.169.254/latest",
            "x",
            "//x/y",
        ),
        *(
            "http://",
            "http://[::1]/a",
            "http://0x7f000001/a",
            "http://127.1:9/a",
            "http://user:pw@127.0.0.1/a",
            "http://a b/",
        ),
        *("http://127.0.0.1:99999/", "gopher://x/", "http://2130706433/", "http://[::ffff:127.0.0.1]/", "http://é..x/"),
        *("http://0.0.0.0/", "http://[fe80::1%25lo]/", "http://127.0.0.1:1/a.jpg", "data:image/png;base64,QUJD"),
        "http://127.0.0.1/" + "x" * 8200,
    ):
        yield to.json(f"URL {url[:40]} {len(url)}", {"image": {"url": url}, "phrases": phrases})
    yield to.form("form, image_url", [("image_url", f"{to.origin}/a.jpg"), ("phrases", "a"), ("phrases", "b")])
    yield to.form("form, three kinds", [
        *(("image", ("a.jpg", "image/jpeg", pictures()["a.jpg"])), ("image_url", f"{to.origin}/b.png")),
        *(("image_iiif", f"{to.origin}/2/a"), ("lists", "tools")),
    ])  # fmt: skip
    yield to.json("URLs good and bad", {
        "images": [{"url": f"{to.origin}/{path}"} for path in ("a.jpg", "none", "b.png", "text")],
        "phrases": phrases,
    })  # fmt: skip
    for path in (
        *("2/a", "2/a/info.json", "3/b", "3/b/info.json", "3/b/full/max/0/default.jpg", "2/tiles", "3/tiles", "3/gone"),
        *("2/a/full/full/0/default.jpg", "manifest", "partly", "many", "empty-manifest", "collection", "old", "a.jpg"),
        *(
            "round-collection",
            "broken.json",
            "other.json",
            "huge",
            "text",
            "reset",
            "none",
            "2/a/0,0,450,300/75,/0/default.jpg",
        ),
    ):
        yield to.json(f"IIIF /{path}", {"image": {"iiif": f"{to.origin}/{path}"}, "phrases": phrases})
        if path in ("2/a", "3/b", "manifest", "collection", "partly"):
            asked = {"image": {"iiif": f"{to.origin}/{path}", "object_number": "7"}, "lists": ["surfaces"], "top_k": 2}
            for name in ("annotations", "linked-art", "csv"):
                yield to.json(f"IIIF /{path} as {name}", asked, f"/v1/gaze?format={name}")
    yield to.json("IIIF elsewhere", {"image": {"iiif": "http://10.0.0.1/iiif/a"}, "phrases": phrases})
    yield to.json("IIIF and others", {
        "images": [{"iiif": f"{to.origin}/manifest"}, {"url": f"{to.origin}/a.jpg"}], "phrases": phrases
    })  # fmt: skip
    yield to.form(
        "form, image_iiif", [("image_iiif", f"{to.origin}/3/b/info.json"), ("lists", "tools"), ("fit", "pad")]
    )
