"""Bad forms to POST /v1/gaze: as bytes, because no client would write them."""

import base64
import hashlib
import tracemalloc
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from service.api.body import MAX_FIELD_BYTES, MAX_PART_HEAD_BYTES
from tests.conftest import encoded, noise
from tests.support.gaze_requests import answered
from tests.support.problem_shape import MARKER, checked_problem, pointers

Part = tuple[str, str | bytes]

PNG = encoded(noise(32, 24))
IMAGE: Part = ('form-data; name="image"; filename="a.png"', PNG)
LISTS: Part = ('form-data; name="lists"', "qualities")
END = b"--b--\r\n"
MULTIPART = "multipart/form-data; boundary=b"


def field(name: str, text: str | bytes) -> Part:
    return f'form-data; name="{name}"', text


def form(*parts: Part) -> bytes:
    body = b""
    for disposition, content in parts:
        body += b"--b\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n"
        body += (content.encode() if isinstance(content, str) else content) + b"\r\n"
    return body + END


INVALID: list[tuple[str, tuple[Part, ...], list[str]]] = [
    ("no part", (), ["/image", ""]),
    ("no image", (LISTS,), ["/image"]),
    ("33 images", (*[IMAGE] * 33, LISTS), ["/image"]),
    ("32 images and a URL", (*[IMAGE] * 32, field("image_url", f"http://{MARKER}/"), LISTS), ["/image"]),
    ("neither lists nor phrases", (IMAGE,), [""]),
    ("an empty name of a list", (IMAGE, field("lists", "")), ["/lists/0"]),
    ("an empty name among those of lists", (IMAGE, field("lists", "qualities,, sites")), ["/lists/1"]),
    ("a name of a list that is too long", (IMAGE, field("lists", MARKER * 10)), ["/lists/0"]),
    ("101 lists", (IMAGE, field("lists", ",".join(["qualities"] * 101))), ["/lists"]),
    ("an unknown field", (IMAGE, LISTS, field(MARKER, MARKER)), [""]),
    ("an unknown field twice", (IMAGE, LISTS, field(MARKER, "1"), field(MARKER, "2")), [""]),
    ("a field without a name", (IMAGE, LISTS, ("form-data", MARKER)), [""]),
    ("JSON's field", (IMAGE, LISTS, field("images", "[]")), [""]),
    ("a file under another name", (('form-data; name="picture"; filename="a.png"', PNG), LISTS), [""]),
    ("a file as a text field", (IMAGE, ('form-data; name="lists"; filename="a"', "qualities")), [""]),
    ("an empty URL", (field("image_url", ""), LISTS), ["/image_url/0"]),
    ("a URL that is too long", (field("image_url", MARKER * 300), LISTS), ["/image_url/0"]),
    ("template twice", (IMAGE, LISTS, field("template", "{}"), field("template", "{}")), ["/template"]),
    ("a template without {}", (IMAGE, LISTS, field("template", MARKER)), ["/template"]),
    ("top_k twice", (IMAGE, LISTS, field("top_k", "5"), field("top_k", "5")), ["/top_k"]),
    *(
        (f"top_k {text!r}", (IMAGE, LISTS, field("top_k", text)), ["/top_k"])
        for text in ("0", "-1", "1.5", "", " 5", "5 ", "+5", "005", "1_0", "true", "null", "ALL", "9999999999", "٥")
    ),
    ("an empty phrase", (IMAGE, field("phrases", "a river"), field("phrases", "")), ["/phrases/1"]),
    ("NUL in a phrase", (IMAGE, field("phrases", f"{MARKER}\0")), ["/phrases/0"]),
    ("a phrase that is too long", (IMAGE, field("phrases", MARKER * 91)), ["/phrases/0"]),
]


@pytest.mark.parametrize(("parts", "places"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID])
def test_form_that_does_not_fit_the_contract(client: FlaskClient, parts: tuple[Part, ...], places: list[str]) -> None:
    response = client.post("/v1/gaze", data=form(*parts), content_type=MULTIPART)
    assert response.status_code == 422
    assert pointers(checked_problem(422, response.headers, response.data, "invalid_request")) == places


GOOD = form(IMAGE, LISTS)
BROKEN = {
    "no boundary": MARKER.encode(),
    "no last boundary": GOOD.removesuffix(END),
    "a last boundary that is cut": GOOD[:-5],
    "cut within the picture": GOOD[:200],
    "a part without a disposition": GOOD.replace(b"Content-Disposition", b"X-" + MARKER.encode()),
    "a text that is not UTF-8": form(IMAGE, field("phrases", b"\xff" + MARKER.encode())),
    "a name that is not UTF-8": GOOD.replace(b"lists", b"\xff" + MARKER.encode()),
    "a surrogate as UTF-8": form(IMAGE, field("phrases", b"\xed\xa0\x80")),
    "another boundary": GOOD.replace(b"--b", b"--c"),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_body_that_is_no_form(client: FlaskClient, body: bytes) -> None:
    response = client.post("/v1/gaze", data=body, content_type=MULTIPART)
    assert response.status_code == 400
    checked_problem(400, response.headers, response.data, "malformed_request")


@pytest.mark.parametrize("boundary", ['"' + MARKER * 20 + '"', f'"{MARKER}é"', MARKER])
def test_boundary_that_is_none(client: FlaskClient, boundary: str) -> None:
    response = client.post("/v1/gaze", data=GOOD, content_type=f"multipart/form-data; boundary={boundary}")
    assert response.status_code == 400
    checked_problem(400, response.headers, response.data, "malformed_request")


@pytest.mark.parametrize(
    ("sent", "name"), [(b"a\nb.png", None), (b"a\r\nX-Evil: b.png", None), (b"a\0b.png", "ab.png")]
)
def test_line_feeds_in_a_files_name_are_not_told_back(client: FlaskClient, sent: bytes, name: str | None) -> None:
    response = client.post("/v1/gaze", data=GOOD.replace(b"a.png", sent), content_type=MULTIPART)
    assert answered(response)["results"][0]["image"]["name"] == name
    assert "X-Evil" not in response.headers


@pytest.mark.parametrize(("phrases", "status"), [(997, 200), (998, 413), (5_000, 413)])
def test_form_has_a_thousand_parts_at_most(client: FlaskClient, phrases: int, status: int) -> None:
    # The same phrase again and again, because a model would take seconds for a thousand different ones.
    parts = (IMAGE, field("top_k", "1"), field("template", "{}"), *[field("phrases", "a river")] * phrases)
    response = client.post("/v1/gaze", data=form(*parts), content_type=MULTIPART)
    assert response.status_code == status
    if status == 413:
        checked_problem(413, response.headers, response.data, "request_too_large")


@pytest.mark.parametrize("body", [b"preamble\r\n" + GOOD, GOOD + b"epilogue", GOOD.removesuffix(b"\r\n")])
def test_what_stands_around_a_form_is_passed_over(client: FlaskClient, body: bytes) -> None:
    answered(client.post("/v1/gaze", data=body, content_type=MULTIPART))


def test_media_type_of_a_form_is_read_as_http_says(client: FlaskClient) -> None:
    answered(client.post("/v1/gaze", data=GOOD, content_type='Multipart/Form-Data; Boundary="b"'))


LINES = b"a:\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\n" + LINES * 1_000_000 + b"\r\n" + END,
        b"--b\r\n" + LINES * 1_000_000,
        b"--b\r\n" + b"a" * MAX_PART_HEAD_BYTES,
        GOOD.replace(b"\r\n\r\n", b"\r\n" + LINES * (MAX_PART_HEAD_BYTES // len(LINES)) + b"\r\n", 1),
        form(LISTS).removesuffix(END) + form(*[(f'form-data; name="phrases"; a={"a" * 16_000}', "a river")] * 70),
        form(IMAGE, ("form-data; name=phrases", "a" * (MAX_FIELD_BYTES + 1)), LISTS),
        form(IMAGE, ('form-data; name="lists"', "," * (MAX_FIELD_BYTES + 1))),
    ],
    ids=["lines", "lines without an end", "a long line", "just too long", "together", "a field", "commas"],
)
def test_headers_and_fields_are_bounded(client: FlaskClient, body: bytes) -> None:
    response = client.post("/v1/gaze", data=body, content_type=MULTIPART)
    assert response.status_code == 413
    checked_problem(413, response.headers, response.data, "request_too_large")


def test_headers_within_the_bounds_are_read(client: FlaskClient) -> None:
    many = form(LISTS, ("form-data; name=lists;" + "a" * 16_000, "sites"), IMAGE)
    assert set(answered(client.post("/v1/gaze", data=many, content_type=MULTIPART))["results"][0]["lists"]) == {
        "qualities",
        "sites",
    }


def test_commas_do_not_become_names_by_the_million(client: FlaskClient) -> None:
    body = form(IMAGE, *[field("lists", "," * MAX_FIELD_BYTES)] * 200)
    tracemalloc.start()
    try:
        response = client.post("/v1/gaze", data=body, content_type=MULTIPART)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert response.status_code == 422
    assert most < 4 * len(body)


@pytest.mark.parametrize("body", [b"x" * 1_000_000 + b"\r\n" + GOOD, b"\r\n--b" + b" " * 1_000_000])
def test_what_is_no_form_is_not_read_to_its_end(client: FlaskClient, body: bytes) -> None:
    response = client.post("/v1/gaze", data=body, content_type=MULTIPART)
    assert response.status_code == 400
    checked_problem(400, response.headers, response.data, "malformed_request")


@pytest.mark.parametrize("length", [10, 70_000])
def test_what_follows_a_form_is_not_kept(client: FlaskClient, length: int) -> None:
    answered(client.post("/v1/gaze", data=GOOD + b"\r\n--b" * length, content_type=MULTIPART))


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'filename="\xd6l auf Holz.png"', "\ufffdl auf Holz.png"),
        (b'filename="\x8a\x47\x89\xe6.png"', "\ufffdG\ufffd\ufffd.png"),
        ('filename="Öl.png"'.encode(), "Öl.png"),
        (b"filename*=UTF-8''%C3%96l%20a.png", "Öl a.png"),
        (b"filename*=\"UTF-8''%C3%96l%20a.png\"", "Öl a.png"),
        (b'filename="x.png"; filename*="utf-8\'de\'%C3%96l a.png"', "Öl a.png"),
        (b"filename*=\"UTF-8''a%2F..%2F%C3%96l%0A.png\"", "Öl.png"),
        (b"filename*=\"ISO-8859-1''%D6l.png\"", "Öl.png"),
        (b"filename*=\"UTF-8''%FF.png\"", "\ufffd.png"),
        (b"filename=\"it's''fine.png\"", "it's''fine.png"),
        (b"filename=\xd6l.png", "\ufffdl.png"),
        ("filename=Öl.png".encode(), "Öl.png"),
        (b'filename="\\"\xd6l\\".png"', '"\ufffdl".png'),
        (b'filename="C:\\Users\\ann\\a b.png"', "a b.png"),
        (b'filename="\\\\server\\pictures\\a.png"', "a.png"),
        (b'filename="pictures\\\\a.png"', "a.png"),
        (b'filename="a.png"\r\nContent-Type: image/png; name="\xd6l.png"', "a.png"),
        (b'filename="a.png"\r\nContent-Description: \xd6l', "a.png"),
    ],
)
def test_names_of_files_as_clients_spell_them(client: FlaskClient, disposition: bytes, name: str) -> None:
    body = GOOD.replace(b'filename="a.png"', disposition)
    assert answered(client.post("/v1/gaze", data=body, content_type=MULTIPART))["results"][0]["image"]["name"] == name


@pytest.mark.parametrize("boundary", ["a/b", "a:b", "==a==", "a?(b)", '"a b"', '"a/b"', "a'b", "a; charset=utf-8"])
def test_boundaries_as_clients_spell_them(client: FlaskClient, boundary: str) -> None:
    body = GOOD.replace(b"--b", b"--" + boundary.strip('"').partition(";")[0].encode())
    answered(client.post("/v1/gaze", data=body, content_type=f"multipart/form-data; boundary={boundary}"))


def quoted_printable(content: bytes) -> bytes:
    return b"=\r\n".join(b"=%02X" % each for each in content)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("base64", base64.encodebytes), ("BASE64", base64.b64encode), ("quoted-printable", quoted_printable)]
    + [(each, bytes) for each in ("binary", "8bit", "7bit")],
)
def test_parts_that_are_encoded_as_in_mail(
    client: FlaskClient, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    told = f"\r\nContent-Transfer-Encoding: {encoding}"
    body = form((IMAGE[0] + told, encode(PNG)), (LISTS[0] + told, encode(b"qualities")))
    [result] = answered(client.post("/v1/gaze", data=body, content_type=MULTIPART))["results"]
    assert result["image"]["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert list(result["lists"]) == ["qualities"]


def part_of(headers: str, content: bytes) -> bytes:
    return b"--b\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n"


PHRASE = 'Content-Disposition: form-data; name="phrases"\r\n'


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ("Content-Transfer-Encoding: base64", b"Z3LD\r\nvMOfZQ=="),
        ("Content-Transfer-Encoding: Quoted-Printable", b"gr=C3=BC=C3=\r\n=9Fe"),
        ("Content-Transfer-Encoding: 8bit", "grüße".encode()),
        ("Content-Type: text/plain; charset=ISO-8859-1", "grüße".encode("latin-1")),
        ('Content-Type: text/plain; charset="UTF-8"', "grüße".encode()),
        ("Content-Type: text/plain; charset=US-ASCII", "grüße".encode()),
    ],
)
def test_fields_are_read_as_their_parts_say(client: FlaskClient, headers: str, sent: bytes) -> None:
    body = part_of(PHRASE + headers, sent) + form(IMAGE)
    answer = answered(client.post("/v1/gaze", data=body, content_type=MULTIPART))
    assert "grüße" in str(answer["results"])


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ("Content-Transfer-Encoding: base64", b"a river"),
        ("Content-Transfer-Encoding: x-uuencode", b"a river"),
        ("Content-Type: text/plain; charset=utf-7", b"+APY-l"),
        ("Content-Type: text/plain; charset=shift_jis", b"~river"),
    ],
)
def test_fields_that_cannot_be_read_as_their_parts_say(client: FlaskClient, headers: str, sent: bytes) -> None:
    body = part_of(PHRASE + headers, sent) + form(IMAGE)
    response = client.post("/v1/gaze", data=body, content_type=MULTIPART)
    assert response.status_code == 400
    checked_problem(400, response.headers, response.data, "malformed_request")


@pytest.mark.parametrize("name", ["image", "another"])
def test_file_that_was_not_chosen_is_none(client: FlaskClient, name: str) -> None:
    unchosen = (f'form-data; name="{name}"; filename=""\r\nContent-Type: application/octet-stream', b"")
    [result] = answered(client.post("/v1/gaze", data=form(unchosen, IMAGE, LISTS), content_type=MULTIPART))["results"]
    assert result["image"]["name"] == "a.png"
    assert client.post("/v1/gaze", data=form(unchosen, LISTS), content_type=MULTIPART).status_code == 422
