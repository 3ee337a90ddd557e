"""Where no key is needed: which names the service answers to, and what it does for pages of other sites."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import create_environ, run_wsgi_app

from service.api.access.browsers import Hosts
from service.api.reconcile.manifest import DRAFT, STABLE
from tests.conftest import encoded, noise
from tests.support.gaze_requests import by_base64
from tests.support.problem_shape import checked_problem

BATCH = f'{STABLE}?queries={{"a":{{"query":"x"}}}}'
QUESTION = {"image": by_base64(encoded(noise(32, 24))), "lists": ["qualities"]}
OWN = "http://localhost"
FOREIGN = "https://evil.example"
REFINE = "http://127.0.0.1:3333"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

NOBODY_ELSES = (
    *("localhost", "LOCALHOST", "localhost.", "localhost:8000", "a.localhost", "127.0.0.1", "127.0.0.1:8000"),
    *("10.1.2.3:80", "[::1]", "[::1]:8000", "[2001:DB8::1]:8000", "127.1", "0x7f.0x1", "gaze", "gaze:8000", "my_gaze"),
    *("gaze.museum.svc", "gaze.museum.svc.cluster.local", "gaze.museum.svc.cluster.local.:80", "gaze.local"),
    *("gaze.Internal", "gaze.home.arpa", ""),
)
ANYBODYS = (
    *("evil.example", "EVIL.example", "evil.example.", "evil.example:8000", "127.0.0.1.evil.example", "gaze.museum"),
    *("localhost.evil.example", "evil-local.example", "evilinternal.com", "notlocal.xlocal", "home.arpa.com", "a.arpa"),
    *(
        "cluster.local.com",
        "1.2.3.4.nip.io",
        "evil.example:x",
        "evil.example:8000:1",
        "[::1].evil.example",
        "[evil.example",
        "evil.example@127.0.0.1",
        "evil.example/.local",
        "evil.example#.local",
        "evil.example?.local",
        "evil.example .local",
    ),
)


@pytest.mark.parametrize("host", NOBODY_ELSES)
def test_names_that_no_stranger_can_own(client: FlaskClient, host: str) -> None:
    assert client.get("/v1/lists", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ANYBODYS)
@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/static/gaze.css", "/v1/lists", f"{DRAFT}/preview", "/x"]
)
def test_names_that_anybody_can_own(client: FlaskClient, host: str, path: str) -> None:
    response = client.get(path, headers={"Host": host})
    assert response.status_code == 421
    assert "GAZE_HOSTS" in checked_problem(421, response.headers, response.data, "misdirected_request")["detail"]


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "HEAD", "PUT"])
def test_no_method_is_answered_under_such_a_name(client: FlaskClient, method: str) -> None:
    assert client.open("/v1/gaze", method=method, headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_supervisors_may_use_any_name(client: FlaskClient, path: str) -> None:
    assert client.get(path, headers={"Host": "evil.example"}).status_code == 200


def test_a_name_that_a_proxy_reports_counts_for_nothing(client: FlaskClient) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
    assert client.get("/v1/lists", headers=headers).status_code == 421


def test_a_request_without_a_host(client: FlaskClient) -> None:
    environ = create_environ("/v1/lists") | {"SERVER_PROTOCOL": "HTTP/1.0"}
    del environ["HTTP_HOST"]
    _, status, _ = run_wsgi_app(client.application, environ)
    assert status == "200 OK"


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({"hosts": "gaze.museum.example, a.example"}, "Gaze.Museum.Example:8000", 200),
        ({"hosts": "GAZE.museum.example."}, "gaze.museum.example", 200),
        ({"hosts": "gaze.museum.example"}, "museum.example", 421),
        ({"hosts": "gaze.museum.example"}, "a.gaze.museum.example", 421),
        ({"hosts": "*"}, "evil.example", 200),
        ({"public_url": "https://gaze.museum.example:8443/gaze"}, "gaze.museum.example", 200),
        ({"public_url": "https://gaze.museum.example", "hosts": "a.example"}, "a.example", 200),
        ({"public_url": "https://gaze.museum.example"}, "evil.example", 421),
        ({"public_url": "https://[2001:db8::1]:8443"}, "evil.example", 421),
        ({"cors_origins": "*"}, "evil.example", 421),
        ({"api_keys": "one"}, "evil.example", 200),
    ],
)
def test_names_that_are_set(make_client: Callable[..., FlaskClient], settings: Any, host: str, status: int) -> None:
    headers = {"Host": host, "Authorization": "Bearer one"}
    assert make_client(**settings).get("/v1/lists", headers=headers).status_code == status


@pytest.mark.parametrize(
    "text", ["https://a.example", "a.example:8000", "a b", "*,a.example", "*.example", "ä.example", "a..b"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="without a scheme"):
        Hosts.parse(text)


FROM_A_FOREIGN_PAGE = [
    {"Origin": FOREIGN},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:3000"},
    {"Origin": "https://localhost"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": f"{OWN}, {FOREIGN}"},
    {"Origin": FOREIGN, "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer made-up"},
]


@pytest.mark.parametrize("headers", FROM_A_FOREIGN_PAGE)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", path) for path in ("/v1/gaze", "/v1/explain", STABLE, f"{DRAFT}/match", "/v1/lists", "/nothing")),
        *((method, path) for method in ("GET", "HEAD") for path in (BATCH, BATCH.replace("?", "/?"))),
    ],
)
def test_work_for_a_foreign_page(client: FlaskClient, method: str, path: str, headers: dict[str, str]) -> None:
    response = client.open(path, method=method, headers=headers)
    assert response.status_code == 403
    assert "Access-Control-Allow-Origin" not in response.headers
    if method != "HEAD":
        detail = checked_problem(403, response.headers, response.data, "foreign_origin")["detail"]
        assert "GAZE_CORS_ORIGINS" in detail


def test_a_body_of_a_foreign_page_is_not_read(client: FlaskClient) -> None:
    class Unread:
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

        readline = read

    headers = {"Origin": FOREIGN, "Content-Type": "application/json"}
    response = client.post(
        "/v1/gaze", headers=headers, environ_overrides={"wsgi.input": Unread(), "CONTENT_LENGTH": "9"}
    )
    assert response.status_code == 403


@pytest.mark.parametrize("headers", FROM_A_FOREIGN_PAGE)
@pytest.mark.parametrize("path", ["/", "/v1/lists", STABLE, f"{DRAFT}/suggest/type?prefix=m"])
def test_what_costs_nothing_is_answered_and_cannot_be_read(
    client: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    response = client.get(path, headers=headers)
    assert response.status_code == 200
    assert not [name for name, _ in response.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"User-Agent": "curl/8.5.0"},
        {"User-Agent": "OpenRefine/3.9"},
        {"Origin": OWN},
        {"Origin": OWN, "Sec-Fetch-Site": "same-origin", "User-Agent": CHROME},
        {"Origin": "http://127.0.0.1:8000", "Host": "127.0.0.1:8000", "User-Agent": CHROME},
        {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
        {"Origin": "http://gaze", "Host": "gaze:80"},
        {"Origin": "http://gaze:80", "Host": "GAZE"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_work_for_everybody_else(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post("/v1/gaze", json=QUESTION, headers=headers).status_code == 200
    assert client.get(BATCH, headers=headers).status_code == 200


def test_a_browser_that_says_nothing_of_its_page_gets_no_work_by_get(client: FlaskClient) -> None:
    """To plain http on another machine, a picture's or a frame's address is all that a page need name."""
    assert client.get(BATCH, headers={"User-Agent": CHROME}).status_code == 403
    assert client.get(STABLE, headers={"User-Agent": CHROME}).status_code == 200


@pytest.mark.parametrize(
    ("settings", "origin", "status"),
    [
        ({"cors_origins": REFINE}, REFINE, 200),
        ({"cors_origins": REFINE}, FOREIGN, 403),
        ({"cors_origins": "*"}, FOREIGN, 200),
        ({"cors_origins": "*"}, "null", 200),
        ({"public_url": "https://gaze.museum.example/gaze"}, "https://gaze.museum.example", 200),
        ({"public_url": "https://gaze.museum.example:443"}, "https://gaze.museum.example", 200),
        ({"public_url": "https://gaze.museum.example"}, OWN, 200),
        ({"public_url": "https://gaze.museum.example"}, "http://gaze.museum.example", 403),
        ({"public_url": "https://gaze.museum.example:8443"}, "https://gaze.museum.example:8443", 200),
        ({"public_url": "https://gaze.museum.example:8443"}, "https://gaze.museum.example", 403),
    ],
)
def test_origins_that_are_set(make_client: Callable[..., FlaskClient], settings: Any, origin: str, status: int) -> None:
    client = make_client(**settings)
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    assert client.post("/v1/gaze", json=QUESTION, headers=headers).status_code == status
    assert client.get(BATCH, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("origin", "site", "status"),
    [
        ("https://gaze.museum.example", "same-origin", 200),
        ("https://GAZE.museum.example:8443", "same-origin", 200),
        ("https://gaze.museum.example", "same-site", 403),
        ("https://gaze.museum.example", None, 403),
        ("https://a.museum.example", "same-origin", 403),
        ("null", "same-origin", 403),
        ("https://", "same-origin", 403),
    ],
)
def test_own_page_behind_a_proxy_that_changes_scheme_and_port(
    make_client: Callable[..., FlaskClient], origin: str, site: str | None, status: int
) -> None:
    headers = {"Host": "gaze.museum.example", "Origin": origin, **({"Sec-Fetch-Site": site} if site else {})}
    client = make_client(hosts="gaze.museum.example")
    assert client.post("/v1/gaze", json=QUESTION, headers=headers).status_code == status


def test_where_keys_are_set_a_key_is_enough(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(api_keys="one")
    headers = {"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site", "Host": "gaze.museum.example"}
    assert client.post("/v1/gaze", json=QUESTION, headers=headers).status_code == 401
    answer = client.post("/v1/gaze", json=QUESTION, headers={**headers, "Authorization": "Bearer one"})
    assert answer.status_code == 200


def test_a_foreign_page_uses_up_no_visitors_quota(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(rate_limit="1/hour")
    for _ in range(3):
        assert client.post("/v1/gaze", headers={"Origin": FOREIGN}).status_code == 403
    assert client.post("/v1/gaze", json=QUESTION).status_code == 200


def test_preflight_of_a_foreign_page_grants_nothing(client: FlaskClient) -> None:
    headers = {"Origin": FOREIGN, "Access-Control-Request-Method": "POST"}
    response = client.options("/v1/gaze", headers=headers)
    assert not [name for name, _ in response.headers if name.startswith("Access-Control-")]
