"""URLs: what may not be fetched is never connected to, and what fails does so in bounded time and memory."""

import base64
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import trustme

from service.images.fetch.fetcher import FETCH_SECONDS
from tests.faults.forbidden import EVERY, IPV4, IPV6, PUBLIC, carriers
from tests.faults.nameserver import Nameserver
from tests.faults.origins import Attempts, Origins, black_hole, unanswering
from tests.faults.web import ANSWERS, PNG, ZONE, certified
from tests.support.origin import Place, moved
from tests.support.problem_shape import MARKER, checked_problem
from tests.support.running_service import Service
from tests.support.wire import Answer as Answered
from tests.support.wire import exchange

METADATA = ("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192")
METADATA_IPV6 = ("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:a9fe:a9fe::1")
Note = Callable[[str], None]
Sound = Callable[..., Service]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def origins(authority: trustme.CA) -> Iterator[Origins]:
    proofs = {
        "": certified(authority, PUBLIC),
        "museum.example": certified(authority, "museum.example"),
        "other.example": certified(authority, "museum.example"),
        "unproven.example": certified(trustme.CA(), "unproven.example"),
    }
    with Origins(ANSWERS, proofs) as origins:
        yield origins


@pytest.fixture(scope="module")
def nameserver() -> Iterator[Nameserver]:
    with Nameserver(ZONE) as nameserver:
        yield nameserver


@pytest.fixture(scope="module", autouse=True)
def network(origins: Origins, nameserver: Nameserver) -> None:
    """What all of these tests need."""


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> dict[str, str]:
    """What makes a service believe the authority."""
    certificate = tmp_path_factory.mktemp("trusted") / "authority.pem"
    authority.cert_pem.write_to_path(str(certificate))
    return {"SSL_CERT_FILE": str(certificate)}


@pytest.fixture(scope="module")
def service(sound: Sound, trusted: dict[str, str]) -> Service:
    """A service that fetches from the public."""
    return sound(GAZE_URL_FETCH="public", **trusted)


@pytest.fixture(scope="module")
def museum(sound: Sound, trusted: dict[str, str]) -> Service:
    """A service that may also fetch from networks of its own, and has proxies in its environment."""
    proxies = {name: "http://127.0.0.1:3128" for kind in ("http", "https", "all") for name in _both_cases(kind)}
    networks = "10.1.0.0/16,iiif.example:8080,169.254.0.0/16,168.63.129.0/24,100.64.0.0/10,192.0.0.0/24,fd00::/8,::/0"
    return sound(GAZE_URL_FETCH=networks, **trusted, **proxies)


def _both_cases(kind: str) -> tuple[str, str]:
    return f"{kind}_proxy", f"{kind.upper()}_PROXY"


def ask(service: Service, image: Mapping[str, str]) -> Answered:
    body = json.dumps({"image": image, "lists": ["qualities"]}).encode()
    head = f"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return exchange(service.address, head.encode() + b"\r\nConnection: close\r\n\r\n" + body)


def fetched(service: Service, url: str) -> None:
    """Fetch a picture, and look at whether it is the one."""
    answer = ask(service, {"url": url})
    assert answer.status == 200, answer.body
    [result] = json.loads(answer.body)["results"]
    assert result["image"]["source"] == "url"
    assert (result["image"]["width"], result["image"]["height"]) == (64, 48)


def failed(service: Service, url: str, status: int, code: str) -> dict[str, Any]:
    """Ask for a picture that cannot be had, and look at whether the answer is what it must be."""
    answer = ask(service, {"url": url})
    assert answer.status == status, (url, answer.status, answer.body)
    return checked_problem(status, answer.headers, answer.body, code)


def refused(service: Service, url: str) -> None:
    failed(service, url, 422, "url_not_allowed")


@pytest.mark.fault(20)
def test_attempts_are_seen_whether_taken_or_not(service: Service, origins: Origins, seen: Note) -> None:
    # Without this, that nothing was seen elsewhere would mean nothing.
    origins.reached.clear()
    with Attempts(service.address) as attempts:
        assert attempts.seen() == set()
        fetched(service, f"http://{PUBLIC}/")
        assert attempts.seen() == {Place(PUBLIC, 80)}
        fetched(service, "https://museum.example/a.png")
        assert attempts.seen() == {Place(PUBLIC, 80), Place(PUBLIC, 443)}
        # What nobody listens on is seen as well.
        with pytest.raises(ConnectionRefusedError):
            exchange("http://10.9.8.7:9", b"")
        assert attempts.seen() == {Place(PUBLIC, 80), Place(PUBLIC, 443), Place("10.9.8.7", 9)}
    assert origins.reached == [Place(PUBLIC, 80), Place(PUBLIC, 443)]


@pytest.mark.fault(20)
def test_forbidden_addresses_as_they_are_written(service: Service, origins: Origins, seen: Note) -> None:
    origins.reached.clear()
    with Attempts(service.address) as attempts:
        for written in EVERY:
            refused(service, f"http://{written}/{MARKER}.png")
        for address in (*map(str, IPV4), *(f"[{address}]" for address in IPV6)):
            refused(service, f"HTTPS://{address}/")
        assert attempts.seen() == set()
    assert not origins.reached
    seen(f"{len(EVERY)} spellings: 422, 0 connections tried")


@pytest.mark.fault(20, 22)
def test_forbidden_addresses_that_a_redirect_leads_to(service: Service, origins: Origins, seen: Note) -> None:
    origins.reached.clear()
    with Attempts(service.address) as attempts:
        for number in range(len(EVERY)):
            refused(service, f"http://{PUBLIC}/to/{number}")
        assert attempts.seen() == {Place(PUBLIC, 80)}
    assert origins.reached == [Place(PUBLIC, 80)] * len(EVERY)
    seen(f"{len(EVERY)} redirects: 422, only the redirecting host connected to")


@pytest.mark.fault(20, 21)
def test_forbidden_addresses_that_a_name_has(
    service: Service, origins: Origins, nameserver: Nameserver, seen: Note
) -> None:
    names = [name for name in ZONE if name.startswith(("v4-", "v6-", "carried-"))]
    origins.reached.clear()
    with Attempts(service.address) as attempts:
        for name in names:
            refused(service, f"http://{name}/")
        assert attempts.seen() == set()
    assert not origins.reached
    assert all(nameserver.asked[name, "A"] and nameserver.asked[name, "AAAA"] for name in names)
    seen(f"{len(names)} names: 422, 0 connections tried")


@pytest.mark.fault(19)
def test_other_schemes_credentials_and_ports(service: Service, origins: Origins, seen: Note) -> None:
    urls = (
        *("file:///etc/passwd", "FILE:///etc/passwd", f"ftp://{PUBLIC}/a.png", f"gopher://{PUBLIC}:80/_GET"),
        *("data:image/png;base64,iVBORw0KGgo=", f"dict://{PUBLIC}/", f"jar:http://{PUBLIC}/!/a", f"//{PUBLIC}/a.png"),
        *(f"http://user:{MARKER}@{PUBLIC}/", f"http://{MARKER}@{PUBLIC}/", f"https://:{MARKER}@museum.example/"),
        *(f"http://{PUBLIC}:{port}/" for port in (0, 22, 79, 81, 444, 6379, 8000, 8080, 65535, 65536)),
        *(f"https://museum.example:{port}/" for port in (22, 8080)),
    )
    origins.reached.clear()
    with Attempts(service.address) as attempts:
        for url in urls:
            refused(service, url)
        assert attempts.seen() == set()
        for number in range(2):
            refused(service, f"http://{PUBLIC}/scheme/{number}")
        fetched(service, f"http://{PUBLIC}/?key={MARKER}")
        assert attempts.seen() == {Place(PUBLIC, 80)}
    assert all(MARKER not in json.dumps(line) for line in service.lines())
    seen(f"{len(urls)} URLs: 422, 0 connections tried, no secret in the log")


@pytest.mark.fault(21)
def test_names_with_a_public_and_a_private_address(
    service: Service, origins: Origins, nameserver: Nameserver, seen: Note
) -> None:
    origins.reached.clear()
    with Attempts(service.address) as attempts:
        for name in ("both", "htob", "families", "many"):
            refused(service, f"http://{name}.example/")
        assert attempts.seen() == set()
    assert not origins.reached
    assert nameserver.over_tcp, "101 addresses are too long for a datagram"
    seen("mixed answers, 101 of them too: 422")


@pytest.mark.fault(21)
def test_a_name_that_changes_between_look_ups(
    service: Service, origins: Origins, nameserver: Nameserver, seen: Note
) -> None:
    with Attempts(service.address) as attempts:
        fetched(service, "http://turning.example/")
        assert nameserver.asked["turning.example", "A"] == 1
        assert attempts.seen() == {Place(PUBLIC, 80)}
        refused(service, "http://turning.example/")
        assert attempts.seen() == {Place(PUBLIC, 80)}
    seen("looked up once, the vetted address connected to; 422 after the change")


@pytest.mark.fault(22)
def test_redirects_without_end(service: Service, seen: Note) -> None:
    fetched(service, f"http://{PUBLIC}/hops/10")
    for path in ("hops/11", "loop"):
        assert "10 times" in failed(service, f"http://{PUBLIC}/{path}", 502, "image_fetch_failed")["detail"]
    seen("10 redirects: 200; 11 and a loop: 502")


@pytest.mark.fault(23)
def test_bodies_that_are_not_what_they_say(service: Service, seen: Note) -> None:
    fetched(service, f"http://{PUBLIC}/")
    [worker] = service.workers()
    before = service.resident_bytes()
    Path(f"/proc/{worker}/clear_refs").write_text("5", encoding="ascii")  # forget the peak
    for path in ("endless", "endless-chunks", "endless-chunk", "announced", "bomb"):
        failed(service, f"http://{PUBLIC}/{path}", 413, "image_too_large")
    fetched(service, f"http://{PUBLIC}/longer")
    for path in ("shorter", "bomb-in-bomb"):
        failed(service, f"http://{PUBLIC}/{path}", 502, "image_fetch_failed")
    [peak] = [
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{worker}/status").read_text(encoding="ascii").splitlines()
        if line.startswith("VmHWM:")
    ]
    assert peak - before < 100_000_000
    seen(
        f"413 at 32 MiB, 502 where less than it said, 200 where more; {max(0, peak - before) // 10**6} MB more at most"
    )


@pytest.mark.fault(24)
def test_one_deadline_for_all_that_is_slow(service: Service, seen: Note) -> None:
    slow = {
        "DNS": "http://silent.example/",
        "connect": "http://93.184.215.99/",
        "TLS": "https://93.184.215.98/",
        "head": f"http://{PUBLIC}/header-a-second",
        "body": f"http://{PUBLIC}/byte-a-second",
        "TLS body": "https://museum.example/byte-a-second",
        "silence after a while": f"http://{PUBLIC}/falls-silent",
        "hops": f"http://{PUBLIC}/slow-hops",
    }

    def took(url: str) -> float:
        begun = time.monotonic()
        failed(service, url, 504, "image_fetch_timeout")
        return time.monotonic() - begun

    with (
        black_hole("93.184.215.99", 80),
        unanswering("93.184.215.98", 443),
        ThreadPoolExecutor(len(slow)) as callers,
    ):
        seconds = dict(zip(slow, callers.map(took, slow.values()), strict=True))
    assert all(FETCH_SECONDS - 0.1 < took < FETCH_SECONDS + 1.5 for took in seconds.values()), seconds
    seen(f"{len(slow)} ways to be slow: 504 after {min(seconds.values()):.1f} to {max(seconds.values()):.1f} s")


@pytest.mark.fault(25)
def test_hosts_that_fail(service: Service, origins: Origins, seen: Note) -> None:
    fetched(service, "https://museum.example/")
    fetched(service, f"https://{PUBLIC}/")
    origins.requests.clear()
    for url in ("https://other.example/", "https://unproven.example/", "https://93.184.215.15/"):
        assert "certificate" in failed(service, url, 502, "image_fetch_failed")["detail"]
    assert origins.requests == []
    for path in ("404", "500", "reset", "not-http"):
        failed(service, f"http://{PUBLIC}/{path}", 502, "image_fetch_failed")
    failed(service, "http://nowhere.example/", 502, "image_fetch_failed")
    seen("502; nothing asked of who did not prove its name")


@pytest.mark.fault(26)
def test_a_museums_own_network(museum: Service, origins: Origins, seen: Note) -> None:
    allowed = ("10.1.2.3", "10.1.2.3:8000", "[fd12:3456::9]:8080", "[::ffff:10.1.2.3]:22", "iiif.example:8080", PUBLIC)
    for host in allowed:
        fetched(museum, f"http://{host}/a.png")
    forbidden = (
        *("10.2.0.1", "127.0.0.1", "iiif.example", "iiif.example:8000", "192.168.7.7:8080", "metadata.example"),
        *chain.from_iterable(
            (address, *(f"[{each}]" for each in carriers(IPv4Address(address)))) for address in METADATA
        ),
        *(f"[{address}]" for address in METADATA_IPV6),
    )
    origins.reached.clear()
    with Attempts(museum.address) as attempts:
        for host in forbidden:
            refused(museum, f"http://{host}/a.png")
        assert attempts.seen() == set()
    assert not origins.reached
    origins.answers["/to-metadata"] = moved("http://169.254.169.254/latest/meta-data/")
    refused(museum, "http://10.1.2.3/to-metadata")
    assert origins.reached == [Place("10.1.2.3", 80)]
    seen(f"{len(allowed)} allowed: 200; {len(forbidden)} others, metadata in every spelling: 422")


@pytest.mark.fault(27)
def test_proxies_in_the_environment(museum: Service, origins: Origins, seen: Note) -> None:
    origins.reached.clear()
    with Attempts(museum.address) as attempts:
        fetched(museum, f"http://{PUBLIC}/")
        fetched(museum, "https://museum.example/")
        assert attempts.seen() == {Place(PUBLIC, 80), Place(PUBLIC, 443)}
    assert origins.reached == [Place(PUBLIC, 80), Place(PUBLIC, 443)]
    seen("never connected to")


@pytest.mark.fault(30)
def test_every_url_slot_stuck(service: Service, origins: Origins, seen: Note) -> None:
    picture = {"base64": base64.b64encode(PNG).decode()}

    def uploads(count: int) -> list[float]:
        times = []
        for _ in range(count):
            begun = time.monotonic()
            answer = ask(service, picture)
            times.append(time.monotonic() - begun)
            assert answer.status == 200, answer.body
        return times

    uploads(10)
    before = uploads(100)
    origins.requests.clear()
    with ThreadPoolExecutor(40) as callers:
        stuck = [callers.submit(ask, service, {"url": f"http://{PUBLIC}/silent"}) for _ in range(40)]
        time.sleep(1)
        during = uploads(100)
        assert len(origins.requests) == 16
        answers = [each.result() for each in stuck]
    statuses = Counter(answer.status for answer in answers)
    assert statuses == {504: 16, 503: 24}
    for answer in answers:
        code = {504: "image_fetch_timeout", 503: "overloaded"}[answer.status]
        checked_problem(answer.status, answer.headers, answer.body, code)
    usual, then = statistics.median(before), statistics.median(during)
    assert then < 1.5 * usual + 0.01
    seen(f"40 URLs on a dead host: 16 x 504, 24 x 503; uploads {usual * 1000:.0f} ms, meanwhile {then * 1000:.0f} ms")
