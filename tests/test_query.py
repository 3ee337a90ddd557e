"""Bad requests to POST /v1/gaze: each gets its status, its code and a pointer, and hears nothing of what it sent."""

import base64
import hashlib
import io
import json
import tracemalloc
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from service.api import body
from tests.conftest import encoded, noise
from tests.support.gaze_requests import answered
from tests.support.problem_shape import MARKER, checked_problem, pointers

PNG = encoded(noise(32, 24))
IMAGE = {"base64": base64.b64encode(PNG).decode()}
GOOD = {"image": IMAGE, "lists": ["qualities"]}


def with_own(*phrases: Any) -> dict[str, Any]:
    return {"image": IMAGE, "phrases": {"own": ["a river", *phrases]}}


def without(*names: str, **fields: Any) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name not in names} | fields


NOT_JSON = {
    "cut short": b'{"image": {"url": "' + MARKER.encode(),
    "empty": b"",
    "not UTF-8": b'{"image": "\xff\xfe' + MARKER.encode() + b'"}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "NaN": json.dumps(without(top_k=float("nan"))).encode(),
    "Infinity": json.dumps(without(top_k=float("-inf"))).encode(),
    "a number of 5,000 digits": b'{"top_k": ' + b"9" * 5000 + b"}",
    "trailing text": json.dumps(GOOD).encode() + MARKER.encode(),
    "single quotes": b"{'" + MARKER.encode() + b"': 1}",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_body_that_is_no_json(client: FlaskClient, body: bytes) -> None:
    response = client.post("/v1/gaze", data=body, content_type="application/json")
    assert response.status_code == 400
    checked_problem(400, response.headers, response.data, "malformed_request")


NO_TOP_K: tuple[Any, ...] = (0, -1, 1.5, 1e400, "5", True, False, [], {})
INVALID: list[tuple[str, Any, list[str]]] = [
    ("an array", [GOOD], [""]),
    ("null", None, [""]),
    ("a text", MARKER, [""]),
    ("an unknown field", {**GOOD, MARKER: MARKER}, [""]),
    ("a million unknown fields", {**GOOD, **{f"{MARKER}{number}": 1 for number in range(10_000)}}, [""]),
    ("no image", without("image"), [""]),
    ("image and images", without(images=[IMAGE]), [""]),
    ("an image that is a text", without(image=MARKER), ["/image"]),
    ("an image of nothing", without(image={}), ["/image"]),
    ("an image of two kinds", without(image={**IMAGE, "url": f"http://{MARKER}/"}), ["/image"]),
    ("an image with an unknown field", without(image={**IMAGE, MARKER: 1}), ["/image"]),
    ("an empty base64", without(image={"base64": ""}), ["/image/base64"]),
    ("an empty URL", without(image={"url": ""}), ["/image/url"]),
    ("a URL that is too long", without(image={"url": "http://" + MARKER * 300}), ["/image/url"]),
    ("a URL that is a number", without(image={"url": 5}), ["/image/url"]),
    ("no images", without("image", images=[]), ["/images"]),
    ("33 images", without("image", images=[IMAGE] * 33), ["/images"]),
    ("a wrong image among several", without("image", images=[IMAGE, {"path": MARKER}]), ["/images/1"]),
    ("an empty image among several", without("image", images=[IMAGE, {"base64": ""}]), ["/images/1/base64"]),
    ("neither lists nor phrases", without("lists"), [""]),
    ("no lists", without(lists=[]), ["/lists"]),
    ("lists that are a text", without(lists=MARKER), ["/lists"]),
    ("a list's name that is a number", without(lists=["qualities", 5]), ["/lists/1"]),
    ("an empty list's name", without(lists=["qualities", ""]), ["/lists/1"]),
    ("a list's name that is too long", without(lists=["qualities", MARKER * 10]), ["/lists/1"]),
    ("101 lists", without(lists=["qualities"] * 101), ["/lists"]),
    ("no own lists", without("lists", phrases={}), ["/phrases"]),
    ("33 own lists", without("lists", phrases={f"{MARKER}{n}": ["a river"] for n in range(33)}), ["/phrases"]),
    ("phrases that are no object", without("lists", phrases=[MARKER]), ["/phrases"]),
    ("an own list without phrases", without("lists", phrases={"own": []}), ["/phrases/own"]),
    ("an own list that is a text", without("lists", phrases={"own": MARKER}), ["/phrases/own"]),
    ("an own list with a name in capitals", without("lists", phrases={MARKER.upper(): ["a"]}), ["/phrases"]),
    ("an own list with a blank in its name", without("lists", phrases={f"a {MARKER}": ["a"]}), ["/phrases"]),
    ("an own list with a line feed in its name", without("lists", phrases={"own\n": ["a"]}), ["/phrases"]),
    ("an own list without a name", without("lists", phrases={"": ["a"]}), ["/phrases"]),
    ("an own list with a name that is too long", without("lists", phrases={MARKER * 6: ["a"]}), ["/phrases"]),
    ("an own list named as pydantic's own", without("lists", phrases={"by_url": [""]}), ["/phrases/by_url/0"]),
    ("2,001 phrases", with_own(*[MARKER] * 2000), ["/phrases"]),
    ("2,001 phrases in two lists", without(phrases={"a": ["x"] * 1000, "b": ["x"] * 1001}), ["/phrases"]),
    ("an empty phrase", with_own(""), ["/phrases/own/1"]),
    ("a blank phrase", with_own(" \t\x1f\x85\u3000"), ["/phrases/own/1"]),
    ("NUL in a phrase", with_own(f"{MARKER}\0"), ["/phrases/own/1"]),
    ("a lone surrogate in a phrase", with_own(f"{MARKER}\ud800"), ["/phrases/own/1"]),
    ("a phrase that is too long", with_own(MARKER * 91), ["/phrases/own/1"]),
    ("a phrase of a megabyte", with_own("x" * 2**20), ["/phrases/own/1"]),
    ("a phrase that is a number", with_own(5), ["/phrases/own/1"]),
    ("a phrase that is null", with_own(None), ["/phrases/own/1"]),
    ("a template without {}", {**with_own(), "template": MARKER}, ["/template"]),
    ("a template with two {}", {**with_own(), "template": "{}" + MARKER + "{}"}, ["/template"]),
    ("a template that is too long", {**with_own(), "template": "{}" + MARKER * 91}, ["/template"]),
    ("a template that is a number", {**with_own(), "template": 5}, ["/template"]),
    *(
        (f"null as {name}", without(**{name: None}), [""])
        for name in ("image", "images", "lists", "phrases", "template")
    ),
    *((f"top_k {top_k!r}", without(top_k=top_k), ["/top_k"]) for top_k in NO_TOP_K),
    ("several at once", without(top_k=0, lists=[], template="x"), ["/lists", "/template", "/top_k"]),
]


@pytest.mark.parametrize(("sent", "places"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID])
def test_json_that_does_not_fit_the_contract(client: FlaskClient, sent: Any, places: list[str]) -> None:
    # Numbers beyond a double's are JSON all the same.
    body = json.dumps(sent).replace("Infinity", "1e400")
    response = client.post("/v1/gaze", data=body, content_type="application/json")
    assert response.status_code == 422
    assert pointers(checked_problem(422, response.headers, response.data, "invalid_request")) == places


def test_unknown_list_is_not_echoed(client: FlaskClient) -> None:
    response = client.post("/v1/gaze", json={**GOOD, "lists": [MARKER]})
    assert response.status_code == 404
    checked_problem(404, response.headers, response.data, "unknown_list")


@pytest.mark.parametrize(
    "text",
    [
        f"!{MARKER}",
        " ",
        "data:",
        "data:image/png;base64,",
        f"data:{MARKER}",
        "é" + IMAGE["base64"],
        IMAGE["base64"] + "A",
        "=" + IMAGE["base64"],
        IMAGE["base64"] + "====" + IMAGE["base64"],
        "Q",
    ],
)
def test_base64_that_is_none(client: FlaskClient, text: str) -> None:
    response = client.post("/v1/gaze", json={**GOOD, "image": {"base64": text}})
    assert response.status_code == 422
    checked_problem(422, response.headers, response.data, "undecodable_image")


PADDED = next(
    text
    for seed in range(100)
    if (text := base64.b64encode(encoded(noise(31, 24, seed=seed)) + b"\xfb\xff").decode()).endswith("=")
    and "+" in text
    and "/" in text
)


@pytest.mark.parametrize(
    "text",
    [
        PADDED,
        PADDED.rstrip("="),
        PADDED.replace("+", "-").replace("/", "_"),
        PADDED.replace("+", "-").replace("/", "_").rstrip("="),
        "data:image/png;base64," + PADDED.rstrip("="),
        "data:image/png;base64," + quote(PADDED, safe=""),
        PADDED + "==",
        f" {PADDED[:40]}\r\n{PADDED[40:].rstrip('=')}\n",
        f" data:image/png;base64, {PADDED}\n",
        "data:image/png;base64," + PADDED.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D"),
        f"{PADDED[:40]}\n  {PADDED[40:]}",
    ],
    ids=[
        *("standard", "without padding", "URL-safe", "URL-safe without padding", "a data URI without padding"),
        *("a data URI in percent", "padding in excess", "lines"),
        *("blanks around a data URI", "an escaped data URI", "folded lines"),
    ],
)
def test_spellings_of_base64(client: FlaskClient, text: str) -> None:
    response = client.post("/v1/gaze", json={**GOOD, "image": {"base64": text}})
    image = answered(response)["results"][0]["image"]
    assert image["sha256"] == hashlib.sha256(base64.b64decode(PADDED)).hexdigest()


def test_base64_that_lost_its_plus_signs_is_not_decoded_without_them(client: FlaskClient) -> None:
    response = client.post("/v1/gaze", json={**GOOD, "image": {"base64": PADDED.replace("+", " ")}})
    assert response.status_code == 422
    problem = checked_problem(422, response.headers, response.data, "undecodable_image")
    assert "blanks" in problem["detail"]


def test_byte_order_mark_of_utf_8(client: FlaskClient) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(GOOD).encode()
    answered(client.post("/v1/gaze", data=body, content_type="application/json"))


TOO_DEEP = (422, "invalid_request")
TOO_MANY = (413, "request_too_large")


@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        (b'{"image":[' + b"[" * 400 + b"]" * 400, TOO_DEEP),
        (b'{"image":' + b"[" * 10 + b"]" * 10 + b"}", TOO_DEEP),
        (b'{"image":[' + b"[],[]," * 100_000 + b"[]]}", TOO_MANY),
        (b'{"image":[' + (b"[" * 400 + b"]" * 400 + b",") * 2_000, TOO_MANY),
        (b'{"image":{' + b'"":"",' * 120_000 + b"}}", TOO_MANY),
    ],
    ids=["nested arrays", "ten in one", "small arrays", "deep arrays", "empty keys"],
)
@pytest.mark.parametrize("path", ["/v1/gaze", "/v1/explain"])
def test_json_is_counted_before_it_is_parsed(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str, sent: bytes, refused: tuple[int, str]
) -> None:
    monkeypatch.setattr(body, "parsed_json", None)  # to be called, it would have to be there
    response = client.post(path, data=sent, content_type="application/json")
    status, code = refused
    assert response.status_code == status
    problem = checked_problem(status, response.headers, response.data, code)
    assert "120000 values" in problem["detail"] or "10 deep" in problem["errors"][0]["detail"]


def test_marks_in_texts_are_no_values(client: FlaskClient) -> None:
    phrases = [('\\"' + '[{,"' * 240)[: 990 + n] for n in range(10)]
    sent = {"image": IMAGE, "phrases": {f"own{n}": phrases for n in range(30)}, "top_k": 1}
    assert json.dumps(sent).count("[") > 60_000
    assert json.dumps(sent).count(",") + json.dumps(sent).count("{") + json.dumps(sent).count("[") > 180_000
    answered(client.post("/v1/gaze", json=sent))


def test_as_many_phrases_as_can_be_allowed_are_counted_in(make_client: Callable[..., FlaskClient]) -> None:
    many = {f"own{n}": ["a river"] * 3_125 for n in range(32)}
    client = make_client(max_phrases=100_000)
    images = [{**IMAGE, "object_number": str(n)} for n in range(32)]
    # The last list goes beyond what the setting allows, which only a body that was parsed tells.
    response = client.post("/v1/gaze", json={"images": images, "phrases": {**many, "own0": ["a"] * 3_126}})
    assert response.status_code == 422
    assert (
        "100000 phrases"
        in checked_problem(422, response.headers, response.data, "invalid_request")["errors"][0]["detail"]
    )


def test_one_emoji_does_not_make_a_body_four_times_as_large() -> None:
    sent = b'{"image": {"base64": "' + b"QUJD" * 2_000_000 + b'"}, "template": "\xf0\x9f\x98\x80 {}"}'
    tracemalloc.start()
    try:
        parsed = body.from_json(sent)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert parsed["template"] == "😀 {}"
    assert most < 1.5 * len(sent)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": f"text/{MARKER}"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "multipart/form-data; boundary="},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": f"identity, {MARKER}"},
    ],
)
def test_media_type_that_is_not_taken(client: FlaskClient, headers: dict[str, str]) -> None:
    response = client.post("/v1/gaze", data=json.dumps(GOOD), headers=headers)
    assert response.status_code == 415
    checked_problem(415, response.headers, response.data, "unsupported_media_type")


class Untouched(io.BytesIO):
    """A body that may not be read."""

    def read(self, _size: int | None = -1) -> bytes:
        raise AssertionError("the body was read")

    readinto = readline = read  # type: ignore[assignment]


def test_content_length_over_the_limit_is_refused_before_the_body_is_read(
    make_client: Callable[..., FlaskClient],
) -> None:
    client = make_client(max_request_bytes=1024)
    response = client.post("/v1/gaze", input_stream=Untouched(b"x" * 1025), content_type="application/json")
    assert response.status_code == 413
    checked_problem(413, response.headers, response.data, "request_too_large")


def test_body_that_ends_early(client: FlaskClient) -> None:
    body = json.dumps(GOOD).encode()
    response = client.post(
        "/v1/gaze",
        input_stream=io.BytesIO(body),
        environ_overrides={"CONTENT_LENGTH": str(len(body) + 1)},
        content_type="application/json",
    )
    assert response.status_code == 400
    problem = checked_problem(400, response.headers, response.data, "malformed_request")
    assert "ended before it was whole" in problem["detail"]


def test_body_that_comes_too_slowly(make_client: Callable[..., FlaskClient]) -> None:
    response = make_client(request_timeout=1e-9).post("/v1/gaze", json=GOOD)
    assert response.status_code == 503
    checked_problem(503, response.headers, response.data, "overloaded")


def test_limit_of_phrases_is_a_setting(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(max_phrases=2)
    assert client.post("/v1/gaze", json={"image": IMAGE, "phrases": {"a": ["x"], "b": ["y"]}}).status_code == 200
    response = client.post("/v1/gaze", json={"image": IMAGE, "phrases": {"a": ["x"], "b": ["y", "z"]}})
    assert response.status_code == 422
    checked_problem(422, response.headers, response.data, "invalid_request")
