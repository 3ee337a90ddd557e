"""CORS: off without a setting; with one, which pages a browser lets read the answers."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers

from service.api.access.browsers import CorsPolicy
from tests.support.problem_shape import checked_problem

PAGE = "https://museum.example"
OTHER = "https://evil.example"


def cors(headers: Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("Access-Control-")}


def preflight(client: FlaskClient, origin: str, path: str = "/v1/gaze") -> tuple[int, dict[str, str], str]:
    sent = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    response = client.options(path, headers=sent)
    return response.status_code, cors(response.headers), response.headers.get("Vary", "")


@pytest.fixture(scope="module")
def shared(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(cors_origins=f"{PAGE}, http://localhost:5173", api_keys="one", rate_limit="100000/second")


@pytest.mark.parametrize(
    "text",
    [
        *("https://museum.example", "http://localhost:5173", "http://[::1]:3000", "https://192.0.2.1:8443"),
        *("capacitor://localhost", "http://museum.example:443"),
    ],
)
def test_an_origin_is_read(text: str) -> None:
    policy = CorsPolicy.parse(f" {text} ,")
    assert policy == CorsPolicy(frozenset({text}))
    assert policy.headers(text)["Access-Control-Allow-Origin"] == text


@pytest.mark.parametrize(
    "text",
    [
        *("museum.example", "https://", "https://museum.example/", "https://museum.example/app", "null", "*.example"),
        *("https://*.museum.example", "https://Museum.example", "HTTPS://museum.example", "https://a@museum.example"),
        *("https://museum.example:443", "http://museum.example:80", "https://museum.example:", "https://a b"),
        *("*, https://museum.example", "https://museum.example?x", "https://museum.example\nx", "file://"),
    ],
)
def test_what_no_browser_sends_as_an_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="without a path"):
        CorsPolicy.parse(text)


@pytest.mark.parametrize("origin", [None, PAGE, "null"])
def test_nothing_is_said_where_it_is_off(origin: str | None) -> None:
    assert CorsPolicy().headers(origin) == CorsPolicy.parse("").headers(origin) == {}


def test_off_no_answer_speaks_of_it(client: FlaskClient) -> None:
    for path in ("/v1/model", "/", "/v1/unknown", "/static/gaze.css"):
        headers = client.get(path, headers={"Origin": PAGE}, buffered=True).headers
        assert not cors(headers)
        assert "Vary" not in headers
    status, said, varying = preflight(client, PAGE)
    assert (status, said, varying) == (200, {}, "")


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:5173"])
def test_preflight_of_an_allowed_page_is_answered_without_a_key(shared: FlaskClient, origin: str) -> None:
    status, said, varying = preflight(shared, origin)
    assert (status, varying) == (204, "Origin")
    assert said["Access-Control-Allow-Origin"] == origin
    assert "POST" in said["Access-Control-Allow-Methods"]
    allowed = {name.strip().lower() for name in said["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type", "x-request-id"} <= allowed
    assert "Access-Control-Allow-Credentials" not in said


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        "",
        f"{PAGE}:8443",
        f"{PAGE}.evil.example",
        f"http{PAGE[5:]}",
        PAGE.upper(),
        f"{PAGE}/",
        f"{PAGE}, {OTHER}",
    ],
)
def test_no_other_page_is_answered(shared: FlaskClient, origin: str) -> None:
    status, said, varying = preflight(shared, origin)
    assert (status, said, varying) == (401, {}, "Origin")
    response = shared.get("/v1/model", headers={"Origin": origin, "Authorization": "Bearer one"})
    assert (response.status_code, cors(response.headers), response.headers["Vary"]) == (200, {}, "Origin")


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [("/v1/model", "one", 200), ("/v1/model", "two", 401), ("/v1/lists/none", "one", 404), ("/v1/gaze", "one", 405)],
)
def test_answers_and_errors_can_be_read_by_an_allowed_page(
    shared: FlaskClient, path: str, key: str, status: int
) -> None:
    response = shared.get(path, headers={"Origin": PAGE, "Authorization": f"Bearer {key}"})
    assert response.status_code == status
    if status >= 400:
        checked_problem(status, response.headers, response.data, response.get_json()["code"])
    assert response.headers["Vary"] == "Origin"
    said = cors(response.headers)
    assert said.pop("Access-Control-Allow-Origin") == PAGE
    exposed = {name.strip() for name in said.pop("Access-Control-Expose-Headers").split(",")}
    assert {"X-Request-ID", "Server-Timing", "Retry-After"} <= exposed
    assert not said


def test_an_answer_without_an_origin_varies_too(shared: FlaskClient) -> None:
    headers = shared.get("/livez").headers
    assert headers["Vary"] == "Origin"
    assert not cors(headers)


def test_options_that_is_no_preflight_is_as_ever(shared: FlaskClient) -> None:
    assert shared.options("/v1/gaze", headers={"Origin": PAGE}).status_code == 401
    response = shared.options("/v1/gaze", headers={"Authorization": "Bearer one"})
    assert response.status_code == 200
    assert "POST" in response.headers["Allow"]


def test_every_page_may_be_allowed(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(cors_origins="*", rate_limit="1/hour")
    for origin in (PAGE, "null"):
        status, said, varying = preflight(client, origin)
        assert (status, said["Access-Control-Allow-Origin"], varying) == (204, "*", "")
    # A preflight is not counted; what is refused can be read.
    for status in (200, 429):
        response = client.get("/v1/model", headers={"Origin": PAGE})
        assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (status, "*")
