"""Questions of /v1/gaze and /v1/explain, good and wrong, and bodies that are none."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from fuzz.seeds import picture
from tests.recorded.building import (
    BOUNDARY,
    Asked,
    Builder,
    Part,
    in_base64,
    multipart,
    saved,
)

_DOCUMENTS = (
    *("annotations", "linked-art", "csv", "csv-collectionspace", "csv-omeka-s", "csv-resourcespace"),
    "csv-collectiveaccess",
)


def questions(to: Builder) -> Iterator[Asked]:
    """Good questions of all kinds about good pictures."""
    wide, high = saved(picture("RGB", 4, (300, 120)), "PNG"), saved(picture("RGB", 5, (90, 240)), "JPEG")
    image, other = in_base64(wide), in_base64(high)
    own = {"subject": ["a red circle", "a blue square", "yellow stripes", "a green heart"]}
    yield to.json("one list", {"image": image, "lists": ["movements"]})
    yield to.json("all small lists", {"image": image, "lists": ["surfaces", "tools", "sites", "qualities"]})
    yield to.json("a list twice", {"image": image, "lists": ["tools", "tools"]})
    yield to.json("a list of artists", {"image": image, "lists": ["artists_by_name"], "top_k": 20})
    yield to.json("own phrases", {"image": image, "phrases": own})
    yield to.json("own phrases and a list", {"image": image, "phrases": own, "lists": ["tools"]})
    yield to.json("several own lists", {"image": image, "phrases": {**own, "b-2_c": ["x"]}, "top_k": None})
    yield to.json("a phrase twice", {"image": image, "phrases": {"s": ["a dog", "a dog", "a cat"]}})
    yield to.json("one phrase", {"image": image, "phrases": {"s": ["a dog"]}})
    yield to.json("long phrases", {"image": image, "phrases": {"s": ["word " * 90, "word " * 70, "a" * 500]}})
    yield to.json(
        "phrases of all letters", {"image": image, "phrases": {"s": ["Ærø", "日本", "😀", " x ", "\ud83d\ude00"]}}
    )
    yield to.json("template", {"image": image, "phrases": own, "template": "a painting of {}, framed"})
    for top_k in (1, 2, 4, 5, 1000, None, 3.0):
        yield to.json(f"top_k {top_k}", {"image": image, "phrases": own, "top_k": top_k})
    for least in (0, 0.0, 0.2, 0.25, 0.5, 1, 1.0):
        yield to.json(f"min_probability {least!r}", {"image": image, "phrases": own, "min_probability": least})
    for fit in ("crop", "pad", "stretch"):
        yield to.json(f"fit {fit}", {"image": image, "phrases": own, "fit": fit})
        yield to.json(f"fit {fit} of a high one", {"image": other, "phrases": own, "fit": fit, "include": ["lift"]})
    kinds = ("certainty", "lift", "stability", "none_of_these")
    for included in (*([kind] for kind in kinds), list(kinds), ["lift", "lift"], []):
        yield to.json(f"include {included}", {"image": image, "phrases": own, "include": included})
        yield to.json(f"include {included}, list", {"image": other, "lists": ["surfaces"], "include": included})
    for rank_by in ("probability", "lift"):
        asked = {"image": image, "lists": ["qualities"], "rank_by": rank_by}
        yield to.json(f"rank_by {rank_by}", asked)
        yield to.json(f"rank_by {rank_by} with all", {**asked, "include": list(kinds), "top_k": None})
        yield to.json(f"rank_by {rank_by} and least", {**asked, "min_probability": 0.1, "top_k": 50})
    yield to.json("two images", {"images": [image, other], "phrases": own})
    yield to.json("thirty-two images", {"images": [image, other] * 16, "lists": ["tools"], "top_k": 1})
    yield to.json("one of three bad", {"images": [image, in_base64(b"no picture"), other], "phrases": own})
    yield to.json("all of two bad", {"images": [in_base64(b"no picture"), in_base64(wide[:99])], "phrases": own})
    yield to.json("object number", {"image": {**image, "object_number": "1913.7.4 <ä>"}, "phrases": own})
    yield to.json("data URI", {"image": {"base64": f"data:image/png;base64,{image['base64']}"}, "phrases": own})
    spaced = "\r\n".join(image["base64"][n : n + 76] for n in range(0, len(image["base64"]), 76))
    yield to.json("base64 in lines", {"image": {"base64": spaced}, "phrases": own})
    urlsafe = image["base64"].replace("+", "-").replace("/", "_").rstrip("=")
    yield to.json("base64 for URLs", {"image": {"base64": urlsafe}, "phrases": own})
    yield to.json("base64 quoted", {"image": {"base64": quote(image["base64"], safe="")}, "phrases": own})
    for text in ("!!", "====", "QUJD", "A", "data:image/png,abc", "data:;base64,", " ", image["base64"][:-3], "é"):
        yield to.json(f"base64 {text[:20]!r} {len(text)}", {"image": {"base64": text}, "phrases": own})
    yield to.json(
        "base64 with blanks for plus", {"image": {"base64": image["base64"].replace("+", " ")}, "phrases": own}
    )


def forms(to: Builder) -> Iterator[Asked]:
    """Questions as forms, good and wrong."""
    wide, high = saved(picture("RGB", 4, (300, 120)), "PNG"), saved(picture("RGB", 5, (90, 240)), "JPEG")
    file = ("image", ("a.png", "image/png", wide))
    phrases: list[Part] = [("phrases", f"a {what}") for what in ("red circle", "blue square", "green heart")]
    yield to.form("form, one list", [file, ("lists", "movements")])
    yield to.form("form, lists in one", [file, ("lists", "tools, surfaces")])
    yield to.form("form, lists in two", [file, ("lists", "tools"), ("lists", "surfaces")])
    yield to.form("form, phrases", [file, *phrases])
    yield to.form("form, two files", [file, ("image", ("b.jpg", "image/jpeg", high)), *phrases])
    yield to.form("form, all fields", [
        *(file, *phrases, ("template", "a {}"), ("top_k", "2"), ("min_probability", "0.1"), ("rank_by", "lift")),
        *(("fit", "pad"), ("include", "certainty,lift"), ("include", "none_of_these")),
    ])  # fmt: skip
    yield to.form("form, top_k all", [file, *phrases, ("top_k", "all")])
    for name in ("C:\\fakepath\\ä.png", "../../etc/passwd", "", 'with \\"quotes\\".png', "x" * 300, "\x01.png"):
        yield to.form(f"form, file {name[:20]!r}", [("image", (name, "image/png", wide)), *phrases])
    for name, text in (
        *(("top_k", "0"), ("top_k", "05"), ("top_k", "five"), ("top_k", "1000000000"), ("min_probability", "2")),
        *(("min_probability", "1e-1"), ("min_probability", ".5"), ("rank_by", "name"), ("fit", "zoom")),
        *(("include", "nothing"), ("include", ""), ("template", "none"), ("template", "{} {}"), ("lists", "")),
        *(("lists", "none"), ("phrases", ""), ("phrases", " "), ("other", "x"), ("image", "text"), ("phrases", "a\0b")),
        *(("phrases", "x" * 501), ("phrases", "x" * 70_000), ("image_url", "nothing"), ("image_url", "")),
    ):
        yield to.form(f"form, {name}={text[:12]!r} {len(text)}", [file, *phrases, (name, text)])
    for twice in ("top_k", "fit", "template", "rank_by", "min_probability"):
        yield to.form(f"form, {twice} twice", [file, *phrases, (twice, "1"), (twice, "1")])
    yield to.form("form without picture", phrases)
    yield to.form("form without phrases", [file])
    yield to.form("form of nothing", [])
    yield to.form("form with 33 files", [*([file] * 33), *phrases])
    yield to.form("form with 1001 parts", [file, *([("phrases", "x")] * 1000)])


def wrong_questions(to: Builder) -> Iterator[Asked]:
    """Questions in JSON that do not fit the contract."""
    image = in_base64(saved(picture("RGB", 4, (60, 40)), "PNG"))
    good: dict[str, Any] = {"image": image, "phrases": {"s": ["a", "b"]}}
    wrong: Sequence[tuple[str, Any]] = (
        *(("image", None), ("image", "x"), ("image", {}), ("image", {"url": "x", "base64": "x"}), ("image", [image])),
        *(("image", {"base64": 5}), ("image", {"base64": ""}), ("image", {**image, "object_number": ""})),
        *(("image", {**image, "object_number": "x" * 201}), ("image", {**image, "object_number": "a\nb"})),
        *(("image", {**image, "more": 1}), ("images", [image]), ("images", []), ("lists", []), ("lists", ["none"])),
        *(("lists", "movements"), ("lists", [5]), ("lists", [""]), ("lists", ["x" * 65]), ("lists", ["tools"] * 101)),
        *(
            ("phrases", {}),
            ("phrases", {"S": ["a"]}),
            ("phrases", {"s": []}),
            ("phrases", {"s": [""]}),
            ("phrases", []),
        ),
        *(("phrases", {"s": ["\0a"]}), ("phrases", {"s": [" \t"]}), ("phrases", {"s": [5]}), ("phrases", {"s": "a"})),
        *(("phrases", {"movements": ["a"]}), ("phrases", {"x" * 65: ["a"]}), ("phrases", {"s": ["x" * 501]})),
        *(("phrases", {f"s{n}": ["a"] for n in range(33)}), ("phrases", {"s": ["a"] * 2001}), ("template", "none")),
        *(("template", "{}{}"), ("template", "x" * 500 + "{}"), ("template", None), ("top_k", 0), ("top_k", -1)),
        *(("top_k", 1.5), ("top_k", "5"), ("top_k", True), ("min_probability", -0.1), ("min_probability", 1.1)),
        *(("min_probability", "0.5"), ("min_probability", None), ("rank_by", "x"), ("rank_by", None), ("fit", "x")),
        *(("fit", None), ("include", ["x"]), ("include", "lift"), ("include", None), ("more", 1), ("Image", image)),
    )
    for name, value in wrong:
        yield to.json(f"{name} {str(value)[:40]} {len(str(value))}", {**good, name: value})
    yield to.json("no image", {"phrases": {"s": ["a"]}})
    yield to.json("no phrases", {"image": image})
    yield to.json("33 images", {"images": [image] * 33, "phrases": {"s": ["a"]}})
    yield to.json("several mistakes", {"image": {}, "phrases": {"S": []}, "top_k": 0, "fit": "x", "include": ["y"]})
    yield to.json("second image wrong", {"images": [image, {"url": 5}], "phrases": {"s": ["a"]}})
    yield to.json("lone surrogate", b'{"image": {"base64": "QUJD"}, "phrases": {"s": ["\\ud83d"]}}')


def bodies(to: Builder) -> Iterator[Asked]:
    """Bodies that are no JSON, no form, or not whole."""
    image = in_base64(saved(picture("RGB", 4, (60, 40)), "PNG"))
    good = json.dumps({"image": image, "phrases": {"s": ["a", "b"]}}).encode()
    for name, body in (
        *(
            ("nothing", b""),
            ("null", b"null"),
            ("a number", b"5"),
            ("an array", b"[]"),
            ("text", b'"x"'),
            ("{}", b"{}"),
        ),
        *(("cut", good[:-1]), ("with more", good + b"x"), ("NaN", b'{"top_k": NaN}'), ("deep", b"[" * 11 + b"]" * 11)),
        *(("very deep", b"[" * 100_000), ("not UTF-8", b'{"a": "\xff"}'), ("UTF-16", good.decode().encode("utf-16"))),
        *(("with a mark", b"\xef\xbb\xbf" + good), ("a key twice", b'{"top_k": 1, "top_k": 2}'), ("a comma", b"{,}")),
        *(("many values", b"[" + b"1," * 120_001 + b"1]"), ("single quotes", b"{'a': 1}"), ("blanks", b" \n\t ")),
    ):
        yield to.json(f"JSON: {name}", body)
    for media_type in (
        *("application/json; charset=utf-8", "APPLICATION/JSON", "text/json", "text/plain", "image/png", "-", ""),
        *("application/x-www-form-urlencoded", "multipart/form-data", "multipart/mixed; boundary=x", "json"),
        *("multipart/form-data; boundary=", 'multipart/form-data; boundary="x"', "application/json, text/plain"),
    ):
        yield to.json(f"as {media_type}", good, Content_Type=media_type)
    for encoding in ("gzip", "identity", "br", ""):
        yield to.json(f"encoded {encoding}", good, Content_Encoding=encoding)
    form = multipart([("phrases", "a"), ("image", ("a.png", "image/png", base64.b64decode(image["base64"])))])
    media_type = f"multipart/form-data; boundary={BOUNDARY}"
    for name, body in (
        *(
            ("cut", form[:-5]),
            ("cut early", form[:60]),
            ("empty", b""),
            ("no boundary", b"abc"),
            ("epilogue", form + b"x"),
        ),
        *(("preamble", b"hello\r\n" + form), ("line feeds", form.replace(b"\r\n", b"\n")), ("text", b"a=b&c=d")),
        ("long head", form.replace(b"Content-Type", b"X-Long: " + b"x" * 17_000 + b"\r\nContent-Type")),
        ("name not UTF-8", form.replace(b'"phrases"', b'"phr\xffases"')),
        ("text not UTF-8", form.replace(b"\r\n\r\na\r\n", b"\r\n\r\n\xff\r\n")),
        ("no name", form.replace(b'name="phrases"', b"")),
        ("base64 part", form.replace(b"\r\n\r\na\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\nYSBkb2c=\r\n")),
        ("bad base64 part", form.replace(b"\r\n\r\na\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n")),
        (
            "quoted part",
            form.replace(b"\r\n\r\na\r\n", b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4\r\n"),
        ),
        ("odd encoding", form.replace(b"\r\n\r\na\r\n", b"\r\nContent-Transfer-Encoding: x-uue\r\n\r\na\r\n")),
        (
            "Latin 1",
            form.replace(b"\r\n\r\na\r\n", b"\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n\xe4\r\n"),
        ),
        ("odd charset", form.replace(b"\r\n\r\na\r\n", b"\r\nContent-Type: text/plain; charset=klingon\r\n\r\na\r\n")),
        ("extended name", form.replace(b'filename="a.png"', b"filename*=UTF-8''%C3%A4.png")),
    ):
        yield to.ask(f"form: {name}", "POST", "/v1/gaze", body, Content_Type=media_type)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (good[:50], good[50:]))
    chunked = {"Content_Type": "application/json", "Transfer_Encoding": "chunked"}
    yield to.ask("chunked", "POST", "/v1/gaze", chunks + b"0\r\n\r\n", **chunked)
    yield to.ask("chunked with trailer", "POST", "/v1/gaze", chunks + b"0\r\nX-A: b\r\n\r\n", **chunked)
    yield to.ask("broken chunk", "POST", "/v1/gaze", b"zz\r\nabc\r\n0\r\n\r\n", **chunked)
    yield replace(to.ask("cut chunk", "POST", "/v1/gaze", chunks, **chunked), cut_short=True)
    length = {"Content_Type": "application/json", "Content_Length": str(len(good) + 9)}
    yield replace(to.ask("cut body", "POST", "/v1/gaze", good, **length), cut_short=True)
    for length_said in ("67108865", "99999999999999999999", "-1", "abc", "1.5", "0"):
        yield to.json(f"length {length_said}", good, Content_Length=length_said)
    yield to.json("expected", good, Expect="100-continue")
    yield to.json("expected otherwise", good, Expect="200-ok")


def documents(to: Builder) -> Iterator[Asked]:
    """Answers in other forms, by parameter and by header."""
    wide = saved(picture("RGB", 4, (300, 120)), "PNG")
    file = ("image", ("1913.7, =a.png", "image/png", wide))
    one: list[Part] = [
        file,
        ("lists", "surfaces,movements"),
        ("phrases", 'a, "quoted" phrase; with = | % ä'),
        ("phrases", "b"),
    ]
    two = {
        "images": [{**in_base64(wide), "object_number": "A-1"}, {"url": f"{to.origin}/a.jpg"}],
        "lists": ["artists_by_name", "painting_materials", "printing_techniques"],
        "include": ["certainty", "lift"],
    }
    bad = {"images": [in_base64(wide), in_base64(b"no picture")], "lists": ["tools"]}
    for name in _DOCUMENTS:
        yield to.form(f"{name} of a form", one, f"/v1/gaze?format={name}")
        yield to.json(f"{name} of two", two, f"/v1/gaze?format={name}")
        yield to.json(f"{name} of what fails", bad, f"/v1/gaze?format={name}")
        yield to.json(f"{name} of few", {**two, "min_probability": 1.0}, f"/v1/gaze?format={name}")
    for name in ("json", "", "xml", "CSV", "csv&format=json"):
        yield to.form(f"format {name}", one, f"/v1/gaze?format={name}")
    linked_art = 'application/ld+json; profile="https://linked.art/ns/v1/linked-art.json"'
    for accept in (
        *("application/json", "text/csv", "application/ld+json", linked_art, "*/*", "text/html", "image/png", ""),
        *("text/csv;q=0.5, application/json;q=0.4", "text/csv;q=0.4, */*;q=0.5", "text/csv;q=0", "TEXT/CSV", "x"),
    ):
        yield to.form(f"Accept {accept}", one, Accept=accept)


def explained(to: Builder) -> Iterator[Asked]:
    image = in_base64(saved(picture("RGB", 4, (300, 120)), "PNG"))
    good: dict[str, Any] = {"image": image, "phrases": ["a red circle", "a blue square"]}
    yield to.json("explain", good, "/v1/explain")
    yield to.json("explain with overlay", {**good, "overlay": True}, "/v1/explain")
    yield to.json("explain with all", {**good, "fit": "pad", "template": "a photo of {}"}, "/v1/explain")
    yield to.json("explain by URL", {**good, "image": {"url": f"{to.origin}/b.png"}}, "/v1/explain")
    yield to.json("explain by IIIF", {**good, "image": {"iiif": f"{to.origin}/2/a"}, "fit": "stretch"}, "/v1/explain")
    file = ("image", ("a.png", "image/png", base64.b64decode(image["base64"])))
    yield to.form("explain a form", [file, ("phrases", "a circle"), ("overlay", "true")], "/v1/explain")
    wrong: Sequence[tuple[str, Any]] = (
        *(("image", {"iiif": f"{to.origin}/manifest"}), ("image", {"base64": "QUJD"}), ("phrases", []), ("fit", "x")),
        *(("phrases", ["a"] * 17), ("overlay", "true"), ("overlay", None), ("template", "x"), ("lists", ["tools"])),
        *(("image", None), ("phrases", {"s": ["a"]}), ("top_k", 1)),
    )
    for name, value in wrong:
        yield to.json(f"explain {name} {str(value)[:40]} {len(str(value))}", {**good, name: value}, "/v1/explain")
    yield to.form("explain two files", [file, file, ("phrases", "a")], "/v1/explain")
    yield to.form("explain no phrases", [file], "/v1/explain")
    yield to.form("explain, overlay=yes", [file, ("phrases", "a"), ("overlay", "yes")], "/v1/explain")
    yield to.json("explain as CSV", good, "/v1/explain?format=csv", Accept="text/csv")
