"""Some hundred requests: every route, every kind of body, picture and document, good and bad.

They are the same each time, so that answers can be compared: names are unique, and nothing in them is drawn by chance.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from fuzz.seeds import picture
from tests.recorded.building import KEY, OTHER_KEY, Asked, Builder, Part, in_base64, pictures, saved
from tests.recorded.images import fetched, formats
from tests.recorded.questions import bodies, documents, explained, forms, questions, wrong_questions


def asked_requests(ports: Mapping[str, int], origin: int) -> Iterator[Asked]:
    """Yield all requests, in the order in which they are to be sent."""
    to_open = Builder("open", ports["open"], origin)
    yield from _reading(to_open)
    yield from _lists(to_open)
    yield from questions(to_open)
    yield from forms(to_open)
    yield from wrong_questions(to_open)
    yield from bodies(to_open)
    yield from formats(to_open)
    yield from fetched(to_open)
    yield from documents(to_open)
    yield from explained(to_open)
    yield from _reconciled(to_open)
    yield from _pages_of_others(to_open)
    yield from _on_the_wire(to_open)
    yield from _keys(Builder("keys", ports["keys"], origin))
    yield from _other_settings(Builder("own", ports["own"], origin))


def _reading(to: Builder) -> Iterator[Asked]:
    """All that is read by GET, and methods that a path does not take."""
    plain = ("/", "/docs", "/openapi.json", "/livez", "/readyz", "/v1/lists", "/v1/model", "/ns/gaze/1/context.json")
    static = ("answer", "api", "asked", "copies", "docs", "doubt", "element", "heat", "lists", "page", "pictures")
    files = [*(f"/static/{name}.js" for name in static), "/static/gaze.css", "/static/docs.css"]
    for path in plain:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE", "PUT"):
            yield to.ask(f"{method} {path}", method, path)
    for path in files:
        yield replace(to.ask(f"GET {path}", "GET", path), is_file=True)
    yield replace(to.ask("HEAD /static/page.js", "HEAD", "/static/page.js"), is_file=True)
    for path in ("/static/", "/static/none.js", "/static/../app.py", "/static/%2e%2e/app.py", "/static"):
        yield to.ask(f"GET {path}", "GET", path)
    yield replace(to.ask("metrics", "GET", "/metrics"), names_only=True)
    for method in ("HEAD", "OPTIONS", "POST"):
        yield replace(to.ask(f"{method} /metrics", method, "/metrics"), names_only=True)
    for path in ("/v1/gaze", "/v1/explain", "/v1/reconcile/0.2", "/v1/reconcile/1.0-draft/match"):
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "BREW"):
            yield to.ask(f"{method} {path}", method, path)
    for sent in ("abc", "a" * 128, "a" * 129, "two words", "é"):
        yield to.ask(f"request id {sent[:9]} {len(sent)}", "GET", "/livez", X_Request_ID=sent)


def _lists(to: Builder) -> Iterator[Asked]:
    """Lists, parts of them, and paths that there are not."""
    lists = (
        *("movements", "painting_materials", "sculpture_materials", "printing_techniques", "surfaces", "tools"),
        *("sites", "qualities", "artists_by_name", "artists_by_training_prevalence"),
    )
    for name in lists:
        yield to.ask(f"list {name}", "GET", f"/v1/lists/{name}")
    for part in (
        *("limit=1", "limit=10000&offset=3", "offset=5854", "offset=1000000", "limit=0", "limit=10001", "offset=-1"),
        *("limit=ten", "offset=1&offset=2", "page=3", "limit=", "limit=%2B5", "limit=5.0", "offset=1e3"),
    ):
        yield to.ask(f"part of a list {part}", "GET", f"/v1/lists/movements?{part}")
    for name in ("none", "", "Movements", "a%2Fb", "phrases", "movements/"):
        yield to.ask(f"no list {name}", "GET", f"/v1/lists/{name}")
    yield to.ask("list with any ETag", "GET", "/v1/lists/tools", If_None_Match="*")
    yield to.ask("list with other ETag", "GET", "/v1/lists/tools", If_None_Match='"other"')
    for method in ("HEAD", "OPTIONS", "POST", "DELETE"):
        yield to.ask(f"{method} list", method, "/v1/lists/tools")
    for path in (
        *("/none", "/v1", "/v1/", "/v1/none", "//", "//v1/lists", "/v1//lists", "/v1/lists/", "/%00", "/%ff", "/%"),
        *("/v1/gaze/", "/V1/GAZE", "/v2/gaze", "/robots.txt", "/favicon.ico", "/?x=%ff", "/v1/lists?x=1", "/.env"),
    ):
        yield to.ask(f"GET {path}", "GET", path)


def _reconciled(to: Builder) -> Iterator[Asked]:
    stable, draft = "/v1/reconcile/0.2", "/v1/reconcile/1.0-draft"
    url, data = f"{to.origin}/a.jpg", f"data:image/png;base64,{in_base64(pictures()['b.png'])['base64']}"
    for path in (
        *("/v1/reconcile", "/v1/reconcile/", stable, f"{stable}/", draft, f"{draft}/", "/v1/reconcile/0.1"),
        *(f"{draft}/suggest/type", f"{draft}/suggest/type?prefix=Art", f"{draft}/suggest/type?prefix=s&cursor=1"),
        *(f"{draft}/suggest/type?prefix={'x' * 101}", f"{draft}/suggest/type?cursor=-1", f"{draft}/suggest/entity"),
        *(f"{draft}/suggest/entity?prefix=imp", f"{draft}/suggest/entity?prefix=imp&type=movements"),
        *(f"{draft}/suggest/entity?prefix=imp&type=none", f"{draft}/suggest/entity?prefix=a&cursor=20"),
        *(f"{draft}/suggest/property", f"{draft}/preview", f"{draft}/preview?id=none", f"{draft}/preview?id="),
        *(f"{draft}/suggest/entity?prefix=%C3%A9", f"{draft}/suggest/entity?prefix=a&cursor=x"),
        *(f"{draft}/preview?id={quote('http://vocab.getty.edu/aat/300014078', safe='')}", f"{draft}/view/none"),
    ):
        yield to.ask(f"GET {path[:80]} {len(path)}", "GET", path)
    batches: Sequence[tuple[str, Any]] = (
        ("one", {"q0": {"query": url, "type": "surfaces"}}),
        ("two", {"q0": {"query": url, "type": "surfaces", "limit": 2}, "q1": {"query": data, "type": ["tools"]}}),
        ("type as object", {"q0": {"query": data, "type": {"id": "tools", "name": "Tools"}}}),
        ("several types", {"q0": {"query": data, "type": ["tools", "sites"], "limit": "3"}}),
        ("without type", {"q0": {"query": data}}),
        ("other type", {"q0": {"query": data, "type": "none"}}),
        ("not a picture", {"q0": {"query": "Mona Lisa", "type": "tools"}}),
        ("missing", {"q0": {"query": f"{to.origin}/none", "type": "tools"}}),
        ("of null", {"q0": {"query": None, "limit": None}}),
        ("limits", {f"q{n}": {"query": data, "type": "tools", "limit": n} for n in (0, 1, 101)}),
        ("wrong limit", {"q0": {"query": data, "limit": -1}}),
        ("too many", {f"q{n}": {"query": "x"} for n in range(33)}),
        ("empty", {}),
        ("an array", []),
    )
    form = "application/x-www-form-urlencoded"
    for name, batch in batches:
        sent = urlencode({"queries": json.dumps(batch)})
        yield to.ask(f"batch {name}", "POST", stable, sent.encode(), Content_Type=form)
        if len(sent) < 3000:
            yield to.ask(f"batch {name} by GET", "GET", f"{stable}?{sent}")
    for name, text in (
        *(("broken", "queries={"), ("nothing", ""), ("other field", "a=b"), ("twice", "queries={}&queries={}")),
        *(
            ("extend", "extend={}"),
            ("many fields", "&".join(f"f{n}=1" for n in range(20))),
            ("not UTF-8", "queries=%FF"),
        ),
    ):
        yield to.ask(f"batch {name}", "POST", stable, text.encode(), Content_Type=form)
    yield to.json("batch as JSON", {"queries": {}}, stable)
    yield to.ask("batch, callback", "GET", f"{stable}?callback=alert")

    def condition(value: Any, kind: str = "name") -> dict[str, Any]:
        return {"matchType": kind, "propertyValue": value}

    matches: Sequence[tuple[str, Any]] = (
        ("one", {"queries": [{"conditions": [condition(url)], "type": "surfaces"}]}),
        ("two", {"queries": [{"conditions": [condition(data)], "type": "tools", "limit": 1}] * 2}),
        ("a list of values", {"queries": [{"conditions": [condition([data, url])], "type": "tools"}]}),
        ("another condition", {"queries": [{"conditions": [condition("x", "id")], "type": "tools"}]}),
        ("no condition", {"queries": [{"conditions": []}]}),
        ("odd condition", {"queries": [{"conditions": [condition("x", "odd")]}]}),
        ("not a picture", {"queries": [{"conditions": [condition("x")], "type": "tools"}]}),
        ("none", {"queries": []}),
        ("nothing", {}),
        ("too many", {"queries": [{"conditions": [condition("x")]}] * 33}),
        ("an array", []),
    )
    for name, match in matches:
        yield to.json(f"match {name}", match, f"{draft}/match")
    yield to.ask("match as a form", "POST", f"{draft}/match", b"queries=[]", Content_Type=form)


def _pages_of_others(to: Builder) -> Iterator[Asked]:
    """What browsers send on behalf of pages, and names that the service is called by."""
    body = json.dumps({"image": {"base64": "QUJD"}, "phrases": {"s": ["a"]}}).encode()
    friend, stranger = "https://museum.example", "https://evil.example"
    for origin in (friend, stranger, "null", f"http://{to.host}", "http://museum.example", ""):
        yield to.json(f"POST of {origin}", body, Origin=origin)
        yield to.ask(f"GET of {origin}", "GET", "/v1/lists/tools?limit=1", Origin=origin)
        asking = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
        yield to.ask(f"preflight of {origin}", "OPTIONS", "/v1/gaze", Origin=origin, **asking)
        yield to.ask(f"OPTIONS of {origin}", "OPTIONS", "/v1/gaze", Origin=origin)
    for site in ("same-origin", "cross-site", "same-site", "none", "odd"):
        yield to.json(f"POST, Sec-Fetch-Site {site}", body, Sec_Fetch_Site=site)
        yield to.json(f"POST of a stranger, Sec-Fetch-Site {site}", body, Sec_Fetch_Site=site, Origin=stranger)
    for host in (
        *(
            "gaze",
            "gaze.museum.example",
            "127.0.0.1",
            "[::1]:80",
            "gaze.local",
            "",
            "-",
            "a b",
            "evil.example:80",
            "x@y",
        ),
        *("localhost", "GAZE.SVC", "10.1.2.3.", "0x7f.1", "xn--bcher-kva.example"),
    ):
        yield to.ask(f"GET, Host {host}", "GET", "/v1/lists/tools?limit=1", Host=host)
        yield to.ask(f"probe, Host {host}", "GET", "/livez", Host=host)
    yield to.ask("reconciling picture", "GET", "/v1/reconcile/0.2?queries=%7B%7D", User_Agent="Mozilla/5.0")
    yield to.ask("reconciling stranger", "GET", "/v1/reconcile/0.2?queries=%7B%7D", Origin=stranger)


def _on_the_wire(to: Builder) -> Iterator[Asked]:
    """What is no request that HTTP knows, or one at its limits."""
    host = f"Host: {to.host}\r\nConnection: close\r\n".encode()
    yield to.raw("HTTP/1.0", b"GET /livez HTTP/1.0\r\n\r\n")
    yield to.raw("HTTP/1.0 with Host", b"GET /livez HTTP/1.0\r\n" + host + b"\r\n")
    yield to.raw("absolute form", f"GET http://{to.host}/livez HTTP/1.1\r\n".encode() + host + b"\r\n")
    yield to.raw("absolute form without path", f"GET http://{to.host} HTTP/1.1\r\n".encode() + host + b"\r\n")
    yield to.raw("asterisk", b"OPTIONS * HTTP/1.1\r\n" + host + b"\r\n")
    yield to.raw("CONNECT", b"CONNECT museum.example:443 HTTP/1.1\r\n" + host + b"\r\n")
    yield to.raw(
        "two at once", (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") + b"GET /livez HTTP/1.1\r\n" + host + b"\r\n"
    )
    for name, line in (
        *(("HTTP/9.9", b"GET / HTTP/9.9"), ("no version", b"GET /"), ("no target", b"GET"), ("words", b"what is this")),
        *(("HTTP/2", b"PRI * HTTP/2.0"), ("TLS", b"\x16\x03\x01\x02\x00\x01"), ("small letters", b"get / HTTP/1.1")),
        *(("long target", b"GET /" + b"x" * 9000 + b" HTTP/1.1"), ("blank in target", b"GET /a b HTTP/1.1")),
        *(("tab", b"GET\t/\tHTTP/1.1"), ("not ASCII", b"GET /\xc3\xa4 HTTP/1.1"), ("NUL", b"GET /\0 HTTP/1.1")),
    ):
        yield to.raw(f"first line: {name}", line + b"\r\n" + host + b"\r\n", cut_short=True)
    for name, field in (
        *(("blank before colon", b"A : b"), ("no colon", b"abc"), ("folded", b"A: b\r\n c"), ("empty name", b": b")),
        *(("long", b"A: " + b"x" * 70_000), ("many", b"\r\n".join(b"A%d: b" % n for n in range(150)))),
        *(("two lengths", b"Content-Length: 1\r\nContent-Length: 2"), ("NUL", b"A: \0"), ("not ASCII", b"A: \xff")),
        ("length and chunks", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
        *(("odd coding", b"Transfer-Encoding: gzip"), ("two hosts", b"Host: a\r\nHost: b"), ("underscore", b"A_B: c")),
    ):
        raw = b"GET /livez HTTP/1.1\r\n" + host + field + b"\r\n\r\n"
        yield to.raw(f"header: {name}", raw, cut_short="length and chunks" in name)
    yield to.raw("no end of head", b"GET /livez HTTP/1.1\r\nHost: x\r\n", cut_short=True)


def _keys(to: Builder) -> Iterator[Asked]:
    """A server with keys, a quota, small limits, and pages of every origin allowed."""
    for path in ("/", "/docs", "/openapi.json", "/livez", "/readyz", "/ns/gaze/1/context.json", "/static/gaze.css"):
        yield replace(to.ask(f"GET {path} without key", "GET", path), is_file="static" in path)
    for path in ("/metrics", "/v1/lists", "/v1/model", "/v1/reconcile/0.2", "/none", "/static", "//"):
        yield to.ask(f"GET {path} without key", "GET", path)
    for sent in ("Bearer wrong", "Bearer", f"Basic {KEY}", KEY, f"bearer  {KEY} ", f"Bearer {KEY},", "Bearer é"):
        yield to.ask(f"key {sent!r}", "GET", "/v1/lists/tools?limit=1", Authorization=sent)
    yield to.json("POST without key", {})
    yield to.ask("OPTIONS without key", "OPTIONS", "/v1/gaze")
    asking = {"Access_Control_Request_Method": "POST"}
    yield to.ask("preflight without key", "OPTIONS", "/v1/gaze", Origin="https://any.example", **asking)
    yield replace(to.ask("metrics with key", "GET", "/metrics", Authorization=f"Bearer {OTHER_KEY}"), names_only=True)
    key = {"Authorization": f"Bearer {KEY}"}
    large = saved(picture("RGB", 6, (200, 200)), "BMP")
    many = saved(picture("RGB", 6, (160, 160)), "PNG")
    small = saved(picture("RGB", 6, (50, 50)), "PNG")
    phrases: list[Part] = [("phrases", phrase) for phrase in "abc"]
    yield to.json("too many phrases", {"image": in_base64(small), "phrases": {"s": list("abcdefghijk")}}, **key)
    yield to.form("too large picture", [("image", ("a.bmp", "image/bmp", large)), *phrases], **key)
    yield to.json("too large picture in base64", {"image": in_base64(large), "phrases": {"s": ["a"]}}, **key)
    yield to.json("too large picture by URL", {"image": {"url": f"{to.origin}/large"}, "phrases": {"s": ["a"]}}, **key)
    yield to.form("too many pixels", [("image", ("a.png", "image/png", many)), *phrases], **key)
    yield to.form("too large request", [("image", ("a.bmp", "image/bmp", large * 3)), *phrases], **key)
    chunk = b"30d40\r\n" + bytes(200_000) + b"\r\n0\r\n\r\n"
    chunked = {"Content_Type": "application/json", "Transfer_Encoding": "chunked"}
    yield to.ask("too large in chunks", "POST", "/v1/gaze", chunk * 2, **key, **chunked)
    yield to.form(
        "good picture", [("image", ("a.png", "image/png", small)), *phrases], Origin="https://x.example", **key
    )
    for number in range(10):
        yield to.form(f"quota {number}", [("image", ("a.png", "image/png", small)), *phrases], **key)
    yield to.ask("quota over for lists", "GET", "/v1/lists/tools?limit=1", **key)
    yield to.ask("quota of another key", "GET", "/v1/lists/tools?limit=1", Authorization=f"Bearer {OTHER_KEY}")
    yield to.ask("quota over, probe", "GET", "/livez", **key)


def _other_settings(to: Builder) -> Iterator[Asked]:
    """A server that fetches nothing, decodes fast, has its own lists, a public address and a trusted proxy."""
    phrases: list[Part] = [("phrases", phrase) for phrase in ("a red circle", "a blue square")]
    large = saved(picture("RGB", 6, (2400, 1800)), "JPEG", quality=60)
    yield to.form("fast JPEG", [("image", ("a.jpg", "image/jpeg", large)), *phrases])
    yield to.form("fast JPEG padded", [("image", ("a.jpg", "image/jpeg", large)), *phrases, ("fit", "pad")])
    yield to.form("own list", [("image", ("a.jpg", "image/jpeg", large)), ("lists", "techniques,plain")])
    yield to.form(
        "own list as CSV", [("image", ("a.jpg", "image/jpeg", large)), ("lists", "plain")], "/v1/gaze?format=csv"
    )
    for name in ("annotations", "linked-art"):
        form: list[Part] = [("image", ("a.jpg", "image/jpeg", large)), ("lists", "techniques")]
        yield to.form(f"own list as {name}", form, f"/v1/gaze?format={name}")
    yield to.json("URL, fetching off", {"image": {"url": f"{to.origin}/a.jpg"}, "phrases": {"s": ["a"]}})
    yield to.json("IIIF, fetching off", {"image": {"iiif": f"{to.origin}/2/a"}, "phrases": {"s": ["a"]}})
    for path in (
        *("/v1/lists", "/v1/lists/techniques", "/v1/lists/plain", "/v1/model", "/v1/reconcile/0.2", "/"),
        *("/v1/reconcile/1.0-draft", "/ns/gaze/1/context.json", "/openapi.json"),
    ):
        yield to.ask(f"GET {path}", "GET", path)
        yield to.ask(
            f"GET {path} as asked elsewhere", "GET", path, Host="gaze.museum.example", X_Forwarded_Proto="https"
        )
    for host in ("museum.example", "other.example", "gaze.museum.example:8443", "evil.example"):
        yield to.ask(f"Host {host}", "GET", "/v1/lists/plain", Host=host)
    stranger = {"Origin": "https://museum.example"}
    yield to.json("POST of its own page", {}, Host="museum.example", **stranger)
    for hops in ("1.2.3.4", "1.2.3.4, 5.6.7.8", "junk", "[::1]:80", ""):
        yield to.ask(f"forwarded for {hops}", "GET", "/v1/lists/plain", X_Forwarded_For=hops)
