"""The reconciliation service, asked as OpenRefine and the reconciliation test bench ask it.

OpenRefine's way: its page in the browser reads the manifest and the suggestions, its server sends batches of ten as
forms. The test bench is a page: it checks all that it gets against the schemas, and sends JSON to `/match`.
"""

import base64
import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from referencing import Registry
from referencing.jsonschema import DRAFT7
from structlog.testing import capture_logs

from service.app import create_app
from service.limits.admission import Admission
from service.settings import Settings
from service.zero_shot.classifier import LoadingClassifier, ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from tests.conftest import encoded, noise, serving
from tests.support.origin import Answer, Origin, http, moved, slowly, until_hung_up
from tests.support.problem_shape import checked_problem

SCHEMAS = Path(__file__).parent / "schemas" / "reconciliation"
REFINE = "http://127.0.0.1:3333"
LOOPBACK = "127.0.0.1/32"
STABLE, DRAFT = "/v1/reconcile/0.2", "/v1/reconcile/1.0-draft"
FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
PICTURES = {f"/{number}.png": encoded(noise(64, 48, seed=number)) for number in range(12)}


@cache
def schema(version: str, name: str) -> Draft7Validator:
    """Return what checks a document against a schema of the specification."""
    files = [json.loads(file.read_text(encoding="utf-8")) for file in (SCHEMAS / version).glob("*.json")]
    registry: Registry[Any] = Registry().with_resources((each["$id"], DRAFT7.create_resource(each)) for each in files)
    return Draft7Validator(
        json.loads((SCHEMAS / version / f"{name}.json").read_text(encoding="utf-8")), registry=registry
    )


def found_wrong(version: str, name: str, document: Any) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message}" for error in schema(version, name).iter_errors(document)]


@pytest.fixture(scope="module")
def museum() -> Iterator[Origin]:
    answers: dict[str, Answer] = {path: http(picture) for path, picture in PICTURES.items()}
    answers |= {
        "/missing": http(b"", status="404 Not Found"),
        "/text": http(b"not a picture"),
        "/cut": http(PICTURES["/0.png"][:200]),
        "/inside": moved("http://169.254.169.254/latest"),
        "/slow": slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        "/silent": until_hung_up(),
    }
    with Origin(answers) as host:
        image = {"@context": "http://iiif.io/api/image/3/context.json", "id": f"http://{host.address}/iiif/a"}
        image |= {"type": "ImageService3", "protocol": "http://iiif.io/api/image", "profile": "level0"}
        answers["/iiif/a/info.json"] = http(json.dumps({**image, "width": 64, "height": 48}).encode())
        answers["/iiif/a/full/max/0/default.jpg"] = answers["/8.png"]
        yield host


@pytest.fixture(scope="module")
def asking(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    """A client of a service that fetches from loopback."""
    return make_client(url_fetch=LOOPBACK)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of a service that OpenRefine's page and a test bench's page may ask."""
    with serving(GAZE_MODEL="demo", GAZE_URL_FETCH=LOOPBACK, GAZE_CORS_ORIGINS=REFINE) as address:
        yield address


def urls(museum: Origin, *paths: str) -> list[str]:
    return [f"http://{museum.address}{path}" for path in paths or PICTURES]


def stable(client: FlaskClient, batch: Any) -> Any:
    response = client.post(STABLE, data=urlencode({"queries": json.dumps(batch)}), headers=FORM)
    assert (response.status_code, response.content_type) == (200, "application/json")
    return response.get_json()


def named(queries: Sequence[Any]) -> dict[str, Any]:
    return {f"q{number}": query for number, query in enumerate(queries)}


def match(client: FlaskClient, *queries: dict[str, Any]) -> list[Any]:
    response = client.post(f"{DRAFT}/match", json={"queries": queries})
    assert (response.status_code, response.content_type) == (200, "application/json")
    results = response.get_json()["results"]
    assert not found_wrong("1.0-draft", "reconciliation-result-batch", response.get_json())
    return [result["candidates"] for result in results]


def condition(url: Any) -> list[dict[str, Any]]:
    return [{"matchType": "name", "propertyValue": url}]


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


class Page:
    """A page in a browser, which may read what the service says it may."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._opener = urllib.request.build_opener(_Stay)

    def fetch(self, url: str, body: bytes | None = None, **headers: str) -> tuple[int, Message, bytes]:
        """Return status, headers and body, redirects not followed."""
        request = urllib.request.Request(url, body, {"Origin": REFINE, **headers})
        if "json" in headers.get("Content-Type", ""):  # a browser asks first
            asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
            preflight = urllib.request.Request(url, None, {"Origin": REFINE, **asked}, method="OPTIONS")
            with self._opener.open(preflight, timeout=20) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == REFINE
                assert "content-type" in answer.headers["Access-Control-Allow-Headers"].lower()
                assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        try:
            with self._opener.open(request, timeout=20) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def json(self, url: str, body: bytes | None = None, **headers: str) -> Any:
        """Return the JSON that the page is allowed to read."""
        status, said, answer = self.fetch(url, body, **headers)
        assert status == 200
        assert said["Access-Control-Allow-Origin"] == REFINE
        assert said["Content-Type"] == "application/json"
        return json.loads(answer)


@pytest.mark.parametrize("slash", ["", "/"])
def test_openrefine_adds_the_service_guesses_the_type_reconciles_and_shows(
    service: str, museum: Origin, slash: str
) -> None:
    page, endpoint = Page(service), f"{service}{STABLE}{slash}"
    manifest = page.json(endpoint, Accept="application/json, text/javascript, */*; q=0.01")
    assert not found_wrong("0.2", "manifest", manifest)
    assert manifest["batchSize"] == 10

    # It guesses the type of a column from ten cells: the types of the first three candidates are counted.
    cells = urls(museum)[:10]
    sample = named([{"query": cell, "limit": 3} for cell in cells])
    types: Counter[str] = Counter()
    answer = page.json(endpoint, urlencode({"queries": json.dumps(sample)}).encode(), **FORM)
    for key in sample:
        assert len(answer[key]["result"]) == 3
        types.update(each["id"] for candidate in answer[key]["result"] for each in candidate["type"])
    assert types == {manifest["defaultTypes"][0]["id"]: 30}

    # It sends all cells in batches, with the chosen type, and reads `result` of each.
    properties = [{"pid": "date", "v": "1890"}]
    chosen = {"type": "surfaces", "type_strict": "should", "properties": properties}
    batch = named([{"query": cell, **chosen} for cell in cells])
    assert not found_wrong("0.2", "reconciliation-query-batch", batch)
    answer = page.json(endpoint, urlencode({"queries": json.dumps(batch)}).encode(), **FORM)
    assert list(answer) == list(batch)
    assert not found_wrong("0.2", "reconciliation-result-batch", answer)
    shown: dict[str, str] = {}
    for key in batch:
        scores = [candidate["score"] for candidate in answer[key]["result"]]
        assert (len(scores), scores) == (5, sorted(scores, reverse=True))
        for candidate in answer[key]["result"]:
            assert candidate["match"] is False
            assert candidate["type"] == [{"id": "surfaces", "name": "Surfaces"}]
            shown[candidate["id"]] = candidate["name"]

    # Cells link to the view, and a frame shows the preview; identifiers are put into both as they are.
    for identifier, name in shown.items():
        status, said, body = page.fetch(quote(manifest["view"]["url"].replace("{{id}}", identifier), safe=":/?=&"))
        leads_to = f"http://vocab.getty.edu/aat/{identifier}" if identifier.isdigit() else None
        assert (status, said["Location"]) == (302 if leads_to else 200, leads_to)
        assert leads_to or name in body.decode()
        status, said, body = page.fetch(manifest["preview"]["url"].replace("{{id}}", identifier))
        assert (status, said["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "X-Frame-Options" not in said
        assert f"<h1>{name}</h1>" in body.decode()

    # A person searches for another match, and for another type.
    entity, kind = (manifest["suggest"][each] for each in ("entity", "type"))
    found = page.json(f"{entity['service_url']}{entity['service_path']}?prefix=canv&type=surfaces&type_strict=should")
    assert not found_wrong("0.2", "suggest-entities-response", found)
    assert [each["name"] for each in found["result"]] == ["canvas"]
    found = page.json(f"{kind['service_url']}{kind['service_path']}?prefix=art&_=1")
    assert not found_wrong("0.2", "suggest-types-response", found)
    assert "artists_by_name" in [each["id"] for each in found["result"]]


def test_checks_of_the_test_bench(service: str, museum: Origin) -> None:
    page, endpoint = Page(service), f"{service}{DRAFT}"
    manifest = page.json(endpoint)
    assert manifest == page.json(f"{endpoint}/")
    assert not found_wrong("1.0-draft", "manifest", manifest)
    [url] = urls(museum, "/3.png")
    for fields in ({}, {"type": "movements"}, {"type": "sites", "limit": 3}):
        batch = {"queries": [{**fields, "conditions": condition(url)}]}
        assert not found_wrong("1.0-draft", "reconciliation-query-batch", batch)
        answer = page.json(f"{endpoint}/match", json.dumps(batch).encode(), **{"Content-Type": "application/json"})
        assert not found_wrong("1.0-draft", "reconciliation-result-batch", answer)
        [result] = answer["results"]
        assert len(result["candidates"]) == fields.get("limit", 5)
        for candidate in result["candidates"]:
            assert 0 <= candidate["score"] <= 100
            status, _, _ = page.fetch(manifest["view"]["url"].replace("{id}", candidate["id"]))
            assert status in (200, 302)
            status, _, body = page.fetch(f"{endpoint}/preview?id={candidate['id']}")
            assert (status, body[:15]) == (200, b"<!DOCTYPE html>")
    for prefix in ("", "pai", "300014078"):
        found = page.json(f"{endpoint}/suggest/entity?prefix={prefix}")
        assert not found_wrong("1.0-draft", "suggest-entities-response", found)
        assert found["result"]
    for prefix in ("", "pai", "Surfaces"):
        found = page.json(f"{endpoint}/suggest/type?prefix={prefix}")
        assert not found_wrong("1.0-draft", "suggest-types-response", found)
        assert found["result"]
    assert manifest["suggest"]["property"] is False


def test_the_schemas_do_refuse() -> None:
    assert found_wrong("0.2", "manifest", {"versions": ["0.2"], "name": "a"})
    assert found_wrong("1.0-draft", "manifest", {"versions": ["0.2"], "name": "a", "view": {"url": "{id}"}})
    assert found_wrong("1.0-draft", "suggest-types-response", {"result": [{"id": "a"}]})


def test_candidates_are_the_ranking_that_v1_gaze_gives(asking: FlaskClient, museum: Origin) -> None:
    [url] = urls(museum, "/1.png")
    lists = ["movements", "sites", "artists_by_training_prevalence"]
    asked = {"image": {"url": url}, "lists": lists, "top_k": 4}
    ranked = asking.post("/v1/gaze", json=asked).get_json()["results"][0]["lists"]
    by_get = asking.get(
        STABLE, query_string={"queries": json.dumps({"a": {"query": url, "type": "sites", "limit": 4}})}
    )
    answers = stable(asking, {name: {"query": url, "type": name, "limit": 4} for name in lists})
    assert by_get.get_json() == {"a": answers["sites"]}
    drafted = match(asking, *({"type": name, "limit": 4, "conditions": condition([url])} for name in lists))
    assert drafted == [answers[name]["result"] for name in lists]
    for name in lists:
        for candidate, prediction in zip(answers[name]["result"], ranked[name]["predictions"], strict=True):
            assert candidate["name"] == prediction["label"]
            assert candidate["score"] == 100 * prediction["probability"]
            assert [(each["id"], each["value"]) for each in candidate["features"]] == [
                ("probability", prediction["probability"]),
                ("similarity", prediction["similarity"]),
            ]
            place = f"place {prediction['rank']} of {ranked[name]['count']}"
            assert "by a machine" in candidate["description"]
            assert place in candidate["description"]


def test_candidates_of_several_types_come_list_by_list(asking: FlaskClient, museum: Origin) -> None:
    [url] = urls(museum, "/1.png")
    types = ["surfaces", "movements", "no list", "surfaces", {"id": "tools", "name": "Tools"}]
    alone = [{"query": url, "type": each, "limit": 3} for each in ("surfaces", "movements", "tools")]
    answer = stable(asking, named([{"query": url, "type": types, "limit": 8}, *alone]))
    together, *each_alone = ([*each["result"]] for each in answer.values())
    surfaces, movements, tools = each_alone
    assert together == [*surfaces, *movements, *tools[:2]]
    scores = [candidate["score"] for candidate in together]
    assert scores != sorted(scores, reverse=True)


def test_a_term_of_two_lists_comes_once_where_it_stands_first(asking: FlaskClient, museum: Origin) -> None:
    [url] = urls(museum, "/1.png")
    types = ["artists_by_name", "artists_by_training_prevalence"]
    alone = stable(asking, named([{"query": url, "type": each, "limit": 100} for each in types]))
    first, second = ([candidate["id"] for candidate in each["result"]] for each in alone.values())
    both = stable(asking, {"q": {"query": url, "type": types, "limit": 100}})["q"]["result"]
    assert set(first) & set(second)
    assert len({candidate["id"] for candidate in both}) == len(both) == 100
    of = [candidate["type"][0]["id"] for candidate in both]
    assert of == sorted(of)
    for candidate in both:
        known = [ranked.index(candidate["id"]) for ranked in (first, second) if candidate["id"] in ranked]
        own = (first, second)[types.index(candidate["type"][0]["id"])]
        assert own.index(candidate["id"]) == min(known)


def test_a_query_that_cannot_be_understood_has_no_candidates_and_the_others_have(
    asking: FlaskClient, museum: Origin
) -> None:
    [url] = urls(museum, "/1.png")
    good = {"query": url, "type": "movements", "limit": 2}
    wrong: list[Any] = [
        *(5, None, [], "x", {"query": 5}, {**good, "type": 5}, {**good, "type": ["movements", 5]}),
        *({**good, "type": {"name": "movements"}}, {**good, "limit": -1}, {**good, "limit": "two"}),
        *({**good, "limit": True}, {**good, "limit": 1.5}, {**good, "limit": 0}),
    ]
    sent = named([good, *wrong, good])
    for answer in (
        stable(asking, sent),
        asking.get(STABLE, query_string={"queries": json.dumps(sent)}).get_json(),
    ):
        first, *middle, last = (each["result"] for each in answer.values())
        assert [len(first), len(last)] == [2, 2]
        assert middle == [[]] * len(wrong)
    name = {"matchType": "name", "propertyValue": url}
    good = {"conditions": [name], "type": "movements", "limit": 2}
    wrong = [
        *(5, {}, {"conditions": []}, {"conditions": [name] * 101}, {"conditions": [{"matchType": "name"}]}),
        *({"conditions": [{"propertyValue": url}]}, {**good, "type": 5}, {**good, "limit": "two"}),
    ]
    first, *middle, last = match(asking, good, *wrong, good)
    assert [len(first), len(last)] == [2, 2]
    assert middle == [[]] * len(wrong)


def test_a_term_with_two_spellings_comes_once_and_no_place_is_lost(asking: FlaskClient, museum: Origin) -> None:
    [url] = urls(museum, "/1.png")
    query = {"query": url, "type": "artists_by_name", "limit": 10**6}
    result = stable(asking, {"q": query})["q"]["result"]
    assert len({candidate["id"] for candidate in result}) == len(result) == 100


def test_a_picture_asked_of_twice_is_fetched_once(asking: FlaskClient, museum: Origin) -> None:
    before = len(museum.requests)
    first, other = urls(museum, "/4.png", "/5.png")
    batch = [
        {"query": first},
        {"query": f" {first}\n", "type": "sites"},
        {"query": other},
        {"query": first, "type": "no"},
    ]
    found = [each["result"] for each in stable(asking, named(batch)).values()]
    assert [len(each) for each in found] == [5, 5, 5, 0]
    assert found[0] != found[2]
    assert sorted(line.split(" ")[1] for line in museum.requests[before:]) == ["/4.png", "/5.png"]


def test_nothing_is_fetched_for_an_unknown_list(asking: FlaskClient, museum: Origin) -> None:
    before = museum.connections
    assert stable(asking, {"q": {"query": urls(museum, "/4.png")[0], "type": "no list"}}) == {"q": {"result": []}}
    assert museum.connections == before


def test_a_picture_in_the_query_itself(client: FlaskClient) -> None:
    picture = base64.b64encode(PICTURES["/2.png"]).decode()
    result = stable(client, {"q": {"query": f"data:image/png;base64,{picture}", "type": "qualities"}})["q"]["result"]
    assert len(result) == 5


def test_a_picture_of_a_iiif_server(asking: FlaskClient, museum: Origin) -> None:
    queries = [{"query": url} for url in urls(museum, "/iiif/a/info.json", "/8.png")]
    by_iiif, by_url = stable(asking, named(queries)).values()
    assert by_iiif == by_url
    assert len(by_url["result"]) == 5


def test_bad_pictures_have_no_candidates_and_take_no_other_with_them(asking: FlaskClient, museum: Origin) -> None:
    bad = [*urls(museum, "/missing", "/text", "/cut", "/inside"), "http://127.0.0.2/a.png", "ftp://a.example/", "no"]
    good = urls(museum, "/6.png", "/7.png")
    with capture_logs() as logs:
        answer = stable(asking, named([{"query": url} for url in (good[0], *bad, good[1])]))
    assert not found_wrong("0.2", "reconciliation-result-batch", answer)
    assert [len(each["result"]) for each in answer.values()] == [5, *([0] * len(bad)), 5]
    alone = stable(asking, named([{"query": url} for url in good]))
    assert [answer["q0"], answer["q8"]] == list(alone.values())
    [line] = [line for line in logs if line["event"] == "unread"]
    assert line["images"] == {
        "image_fetch_failed": 1,
        "unsupported_image_format": 1,
        "undecodable_image": 1,
        "url_not_allowed": 4,
    }
    assert museum.address not in str(logs)
    assert match(asking, *({"conditions": condition(url)} for url in bad)) == [[]] * len(bad)


def test_a_slow_host_takes_its_own_pictures_only(make_client: Callable[..., FlaskClient], museum: Origin) -> None:
    hasty = make_client(url_fetch=LOOPBACK, request_timeout=4.0)
    answer = stable(hasty, named([{"query": url} for url in urls(museum, "/6.png", "/slow", "/7.png")]))
    assert [len(each["result"]) for each in answer.values()] == [5, 0, 5]


def test_no_picture_is_fetched_where_fetching_is_off(client: FlaskClient, museum: Origin) -> None:
    before = museum.connections
    assert stable(client, {"q": {"query": urls(museum, "/4.png")[0]}}) == {"q": {"result": []}}
    assert museum.connections == before


@pytest.mark.parametrize("admission", [Admission(0, 16), Admission(1, 0)], ids=["no place", "no fetch"])
def test_a_busy_service_says_so_rather_than_that_there_is_nothing(
    classifier: ZeroShotClassifier, phrase_lists: dict[str, PhraseList], museum: Origin, admission: Admission
) -> None:
    settings = Settings(model="demo", url_fetch=LOOPBACK)
    ready = LoadingClassifier(lambda _report: classifier).start().wait()
    client = create_app(settings, phrase_lists, ready, threading.Event(), admission).test_client()
    queries = urlencode({"queries": json.dumps({"q": {"query": urls(museum, "/4.png")[0]}})})
    asked = {"queries": [{"conditions": condition(urls(museum, "/4.png")[0])}]}
    for response in (
        client.post(STABLE, data=queries, headers=FORM),
        client.get(f"{STABLE}?{queries}"),
        client.post(f"{DRAFT}/match", json=asked),
    ):
        checked_problem(503, response.headers, response.data, "overloaded")
    assert client.get(STABLE).status_code == client.get(f"{DRAFT}/suggest/type").status_code == 200
    assert admission.taken == 0


def test_few_batches_come_by_get_at_a_time(make_client: Callable[..., FlaskClient], museum: Origin) -> None:
    client = make_client(url_fetch=LOOPBACK, request_timeout=2.0)
    queries = {"queries": json.dumps({"q": {"query": urls(museum, "/silent")[0]}})}
    before = museum.connections
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(client.application.test_client().get(STABLE, query_string=queries).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while museum.connections < before + 4:
        assert any(thread.is_alive() for thread in threads)
    response = client.get(STABLE, query_string=queries)
    checked_problem(503, response.headers, response.data, "overloaded")
    assert client.get(STABLE).status_code == 200
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4


def test_a_service_that_is_not_ready_has_a_manifest(phrase_lists: dict[str, PhraseList]) -> None:
    loading = LoadingClassifier(lambda _report: pytest.fail("it was not started"))
    client = create_app(Settings(model="demo"), phrase_lists, loading, threading.Event()).test_client()
    assert client.get(STABLE).get_json()["versions"] == ["0.2"]
    assert client.get(DRAFT).get_json()["versions"] == ["1.0-draft"]
    response = client.post(STABLE, data="queries={}", headers=FORM)
    checked_problem(503, response.headers, response.data, "not_ready")


def test_manifests_name_the_lists_and_the_address_that_was_asked(
    client: FlaskClient, phrase_lists: dict[str, PhraseList]
) -> None:
    for path in (STABLE, DRAFT):
        manifest = client.get(path, base_url="http://gaze.museum.internal:8000").get_json()
        assert [each["id"] for each in manifest["defaultTypes"]] == list(phrase_lists)
        assert manifest["view"]["url"].startswith("http://gaze.museum.internal:8000/v1/reconcile/view/")
    stable_manifest = client.get(STABLE, query_string={"callback": "jsonp1"}).get_json()
    assert stable_manifest["identifierSpace"] == "http://vocab.getty.edu/aat/"
    shown = stable_manifest["schemaSpace"] + stable_manifest["defaultTypes"][0]["id"]
    assert client.get(shown.removeprefix("http://localhost")).status_code == 200


@pytest.mark.parametrize("host", ['a"><script>', "a/b", "a b", "a@b", "{{id}}", ""])
def test_a_host_that_is_none_stands_in_no_manifest(make_client: Callable[..., FlaskClient], host: str) -> None:
    client = make_client(hosts="*")
    for path in (STABLE, DRAFT):
        response = client.get(path, headers={"Host": host}, environ_overrides={"SERVER_NAME": host or " "})
        checked_problem(400, response.headers, response.data, "malformed_request")


def test_an_identifier_is_suggested_for_lists_that_have_the_term(client: FlaskClient) -> None:
    def suggested(**asked: str) -> list[str]:
        result = client.get(f"{DRAFT}/suggest/entity", query_string=asked).get_json()["result"]
        return [each["id"] for each in result]

    [term, *_] = client.get(f"{DRAFT}/suggest/entity?prefix=woodcut").get_json()["result"]
    own = {each["id"] for each in term["notable"]}
    assert "printing_techniques" in own
    assert "tools" not in own
    assert suggested(prefix=term["id"]) == suggested(prefix=term["id"], type="printing_techniques") == [term["id"]]
    assert suggested(prefix=term["id"], type="tools") == []


@pytest.mark.parametrize("path", [f"{DRAFT}/preview?id=300000000", "/v1/reconcile/view/300000000"])
def test_unknown_term(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    checked_problem(404, response.headers, response.data, "not_found")


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        (f"{DRAFT}/preview", "/id"),
        (f"{DRAFT}/suggest/entity?cursor=-1", "/cursor"),
        (f"{DRAFT}/suggest/type?cursor=a", "/cursor"),
        (f"{DRAFT}/suggest/entity?prefix={'x' * 101}", "/prefix"),
    ],
)
def test_what_a_search_cannot_be_asked(client: FlaskClient, path: str, pointer: str) -> None:
    response = client.get(path)
    problem = checked_problem(422, response.headers, response.data, "invalid_request")
    assert [each["pointer"] for each in problem["errors"]] == [pointer]


def test_suggestions_come_in_pages(client: FlaskClient) -> None:
    pages = [client.get(f"{DRAFT}/suggest/entity?prefix=a&cursor={skip}").get_json()["result"] for skip in (0, 20, 10)]
    assert [len(page) for page in pages] == [20, 20, 20]
    assert pages[0][10:] + pages[1][:10] == pages[2]
    types = client.get(f"{DRAFT}/suggest/type").get_json()["result"]
    assert client.get(f"{DRAFT}/suggest/type?cursor=3").get_json()["result"] == types[3:]


ROUTES = [
    STABLE,
    f"{STABLE}/",
    DRAFT,
    f"{DRAFT}/suggest/type",
    f"{DRAFT}/suggest/entity",
    f"{DRAFT}/preview?id=300014078",
]


def test_keys_and_quotas_are_those_of_all_other_routes(make_client: Callable[..., FlaskClient]) -> None:
    closed = make_client(api_keys="one", rate_limit="8/hour")
    for path in (*ROUTES, "/v1/reconcile/view/300014078"):
        response = closed.get(path)
        checked_problem(401, response.headers, response.data, "unauthorized")
    for path in (STABLE, f"{DRAFT}/match"):
        assert closed.post(path, data="queries={}").status_code in (401, 429)
    key = {"Authorization": "Bearer one"}
    for path in (*ROUTES, "/v1/reconcile/view/300014078"):
        assert closed.get(path, headers=key).status_code in (200, 302)
    assert closed.post(STABLE, data="queries={}", headers={**key, **FORM}).status_code == 200
    response = closed.post(STABLE, data="queries={}", headers={**key, **FORM})
    checked_problem(429, response.headers, response.data, "rate_limited")
