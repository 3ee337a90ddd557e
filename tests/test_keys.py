"""Keys: who may ask, and what is open to everyone."""

import hmac
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from service.api.access.callers import Keys
from tests.support.gaze_requests import PNG, by_base64
from tests.support.problem_shape import MARKER, checked_problem

KEYS = "old-key-1234,new-key-5678"
GUARDED = ["/v1/lists", "/v1/lists/movements", "/v1/model", "/metrics", "/v1/unknown", "/unknown"]
OPEN = ["/livez", "/readyz", "/", "/docs", "/openapi.json", "/static/gaze.css", "/static/page.js"]


@pytest.fixture(scope="module")
def guarded(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(api_keys=KEYS)


@pytest.mark.parametrize("path", ["/v1/lists", "/v1/model", "/metrics"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer anything"}])
def test_service_without_keys_is_open(client: FlaskClient, path: str, headers: dict[str, str]) -> None:
    assert client.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {MARKER}",
        "Bearer old-key-123",
        "Bearer old-key-12345",
        "Bearer OLD-KEY-1234",
        f"Bearer {KEYS}",
        "Bearer old-key-1234 new-key-5678",
        "Bearer schlüssel",
        "Bearer \xff\xfe",
        "Basic old-key-1234",
        f"{MARKER} old-key-1234",
        "old-key-1234",
        "Bearer\told-key-1234",
    ],
)
def test_request_without_a_known_key_is_refused(guarded: FlaskClient, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for response in (guarded.get("/v1/lists", headers=headers), guarded.post("/v1/gaze", json={}, headers=headers)):
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        checked_problem(401, response.headers, response.data, "unauthorized")
        assert "key-1234" not in response.text


@pytest.mark.parametrize("path", GUARDED)
def test_everything_but_what_is_open_needs_a_key(guarded: FlaskClient, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        response = guarded.open(path, method=method)
        assert response.status_code == 401
        checked_problem(401, response.headers, response.data, "unauthorized")


@pytest.mark.parametrize("path", OPEN)
def test_health_page_and_documentation_need_no_key(guarded: FlaskClient, path: str) -> None:
    assert guarded.get(path, buffered=True).status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer old-key-1234", "bearer new-key-5678", "BEARER  new-key-5678 "])
def test_either_key_opens_while_they_are_exchanged(guarded: FlaskClient, authorization: str) -> None:
    headers = {"Authorization": authorization}
    assert guarded.get("/v1/model", headers=headers).status_code == 200
    asked = {"image": by_base64(PNG), "lists": ["qualities"]}
    assert guarded.post("/v1/gaze", json=asked, headers=headers).status_code == 200


@pytest.mark.parametrize("sent", ["first", "second", "third", "none", "", "f" * 10_000, "schl\xfcssel"])
def test_every_key_is_compared_in_constant_time(sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(["first", "second", "third"])
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert (keys.digest_of(f"Bearer {sent}") is not None) == (sent in ("first", "second", "third"))
    # All three, whichever it is, and of one length, so that not even that of a key can be measured.
    assert compared == [(32, 32)] * 3


def test_a_digest_names_its_key_and_holds_no_text() -> None:
    keys = Keys(["first", "second"])
    digests = {keys.digest_of(f"Bearer {key}") for key in ("first", "second", "first ")}
    assert len(digests) == 2
    assert not any(b"first" in (digest or b"first") for digest in digests)
    assert "first" not in repr(vars(keys))


@pytest.mark.parametrize("path", ["//v1/lists", "/static/../v1/lists", "/static/%2e%2e/v1/lists", "/./v1/lists"])
def test_spelling_of_a_path_opens_nothing(guarded: FlaskClient, path: str) -> None:
    response = guarded.get("/", environ_overrides={"PATH_INFO": path})
    assert response.status_code in (401, 404)
    assert "movements" not in response.text
