"""What is not fetched is refused before a socket is opened, wherever in the chain it turns up."""

import functools
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from service.errors import UrlNotAllowed
from service.images.fetch.addresses import FetchPolicy, IPAddress
from service.images.fetch.fetcher import MAX_URL_CHARACTERS, FetchLimits, ImageFetcher, Resolve, resolve
from tests.support.origin import Answer, Origin, http, moved

LIMITS = FetchLimits(max_bytes=100_000, seconds=10)
BODY = b"not really a picture"


@functools.cache
def fetcher(allowed: str, resolve: Resolve) -> ImageFetcher:
    """Return a fetcher of this policy; building one reads all of the system's certificates."""
    return ImageFetcher(FetchPolicy.parse(allowed), LIMITS, resolve)


def refusal(url: str, allowed: str = "public", resolve: Resolve = resolve) -> UrlNotAllowed:
    """Return the refusal of this URL, after looking at what every refusal must be."""
    begun = time.monotonic()
    with pytest.raises(UrlNotAllowed) as raised:
        fetcher(allowed, resolve).fetch(url)
    assert time.monotonic() - begun < 2.5
    assert "secret" not in raised.value.detail
    assert "127" not in raised.value.detail
    return raised.value


def unasked(_host: str, _port: int) -> list[IPAddress]:
    raise AssertionError("nothing is looked up for a URL that is refused as it is written")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "a.png",
            "/etc/passwd",
            "museum.example",
            "museum.example/a.png",
            "//museum.example/a.png",
            "http",
            "http:",
        ),
        *(
            "http://",
            "http:///a.png",
            "http:a.png",
            "https://:443/",
            "http://./",
            "http://...:80/",
            "http://?a",
            "http://#a",
        ),
        *(
            "file:///etc/passwd",
            "file://museum.example/a",
            "ftp://museum.example/a.png",
            "gopher://museum.example:6379/_a",
        ),
        *(
            "data:image/png;base64,iVBORw0KGgo=",
            "javascript:alert(1)",
            "dict://museum.example/",
            "ws://museum.example/",
        ),
        *(
            "http+unix://museum.example/",
            "httpx://museum.example/",
            "http ://museum.example/",
            "\u00a0http://museum.example/",
        ),
        *(
            "http://user:secret@museum.example/",
            "http://secret@museum.example/",
            "https://@museum.example/",
            "http://:@a/",
        ),
        *("http://museum.example\\@127.0.0.1/", "http://127.0.0.1:80\\@museum.example/", "http://a@b@museum.example/"),
        *(
            "http://museum.example:0/",
            "http://museum.example:65536/",
            "http://museum.example:-80/",
            "http://museum.example:x/",
        ),
        *(
            "http://museum.example:80:80/",
            "http://[::1/",
            "http://::1]/",
            "http://[museum.example]/",
            "http://[::1]x/",
            "http://[fe80::1%lo]/",
            "http://[fe80::1%25lo]/",
            "http://127.0.0.1%2f/",
            "http://a\\b/",
        ),
        *(
            "http://museum.example/\r\nHost: a",
            "http://museum.example/a\tb",
            "http://a\tb/",
        ),
        *(
            "http://museum.example/\0",
            "\x01http://museum.example/",
            "http://museum.example/\x7f",
            "http://museum.example /",
        ),
        *(
            "http://münchen.example\\@127.0.0.1/",
            "http://münchen:secret@museum.example/",
            "http://münchen.example／@museum.example/",
            "http://a＠münchen.example/",
            "http://[münchen.example]/",
            "http://münchen.example:８０/",
            "http://\u200b/",
            f"http://{'ü' * 64}.example/",
            "http://-ü.example/",
            "http://m%C3%BCnchen.example/",
        ),
        *(
            "http://①②⑦.⓪.⓪.①/",
            "http://１２７.1/",
            "http://ü.0x7f000001/",
            "http://museum.example/\ud800",
            f"http://museum.example/{'a' * MAX_URL_CHARACTERS}",
        ),
    ],
)
def test_what_is_no_fetchable_url_is_refused_before_a_name_is_looked_up(url: str) -> None:
    for allowed in ("public", "0.0.0.0/0,::/0,museum.example"):
        refusal(url, allowed, unasked)


def test_the_longest_url_is_fetched() -> None:
    with Origin({"/": http(BODY)}) as origin:
        url = f"http://{origin.address}/?".ljust(MAX_URL_CHARACTERS, "a")
        assert fetcher("127.0.0.0/8", resolve).fetch(url) == BODY
    refusal(url + "a", "127.0.0.0/8", unasked)


def test_nothing_is_fetched_where_fetching_is_off() -> None:
    assert "fetches no URLs" in refusal("https://museum.example/a.png", "off", unasked).detail


@pytest.mark.parametrize(
    "host",
    [
        # The system's own resolver reads all of these as an address; none of them needs a name server.
        *(
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
        ),
        *("0x7F.0x0.0x0.0x1", "127.255.255.254", "0.0.0.0", "0", "0x0", "10.0.0.1", "192.168.1.1", "172.16.0.1"),
        *("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "168.63.129.16"),
        *("100.64.0.1", "100.100.100.200", "224.0.0.1", "255.255.255.255", "4294967295", "localhost", "LOCALHOST."),
        *("[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
        *(
            "[::ffff:0:127.0.0.1]",
            "[::5efe:127.0.0.1]",
            "[fe80::5efe:127.0.0.1]",
            "[fe80::1]",
            "[fe80::1]:80",
        ),
        *("[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]", "[2002:7f00:1::]"),
        *("[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[ff02::1]", "[2001:db8::1]"),
    ],
)
def test_addresses_that_are_not_public_are_refused_in_every_spelling(host: str) -> None:
    for url in (f"http://{host}/secret.png", f"https://{host}/secret.png"):
        refusal(url)


@pytest.mark.parametrize("port", [1, 22, 81, 3306, 6379, 8080])
def test_other_ports_of_public_hosts_are_refused(port: int) -> None:
    refusal(f"http://1.1.1.1:{port}/a.png")
    refusal(f"https://1.1.1.1:{port}/a.png")


@pytest.mark.parametrize(
    "addresses",
    [
        ["1.1.1.1", "127.0.0.1"],
        ["127.0.0.1", "1.1.1.1"],
        ["1.1.1.1", "8.8.8.8", "9.9.9.9", "93.184.216.34", "2606:4700::1111", "10.0.0.1"],
        ["2606:4700::1111", "::1"],
        ["1.1.1.1", "169.254.169.254"],
        ["::ffff:127.0.0.1"],
    ],
)
def test_a_name_with_one_address_that_is_not_public_is_refused(addresses: list[str]) -> None:
    found = [ip_address(address) for address in addresses]
    refusal("http://museum.example/a.png", resolve=lambda _host, _port: found)


def test_a_name_that_changes_its_address_is_looked_up_once_and_connected_to_where_it_was_vetted() -> None:
    asked: list[tuple[str, int]] = []

    def changing(host: str, port: int) -> list[IPAddress]:
        asked.append((host, port))
        return [ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

    with Origin({"/a": http(BODY)}) as origin:
        assert fetcher("127.0.0.1", changing).fetch(f"http://museum.example:{origin.port}/a") == BODY
        assert asked == [("museum.example", origin.port)]
        assert origin.connections == 1
        # The second answer is not allowed, and is not connected to.
        with pytest.raises(UrlNotAllowed):
            fetcher("127.0.0.1", changing).fetch(f"http://museum.example:{origin.port}/a")
        assert origin.connections == 1


def test_every_hop_is_looked_up_and_vetted_anew() -> None:
    asked: list[str] = []

    def remember(host: str, _port: int) -> list[IPAddress]:
        asked.append(host)
        return [ip_address("127.0.0.1" if host != "c.example" else "127.0.0.9")]

    answers: dict[str, Answer] = {"/c": http(BODY)}
    with Origin(answers) as origin:
        answers["/a"] = moved(f"http://b.example:{origin.port}/b")
        answers["/b"] = moved(f"http://c.example:{origin.port}/c")
        with pytest.raises(UrlNotAllowed):
            fetcher("127.0.0.1", remember).fetch(f"http://a.example:{origin.port}/a")
        assert asked == ["a.example", "b.example", "c.example"]
        assert origin.connections == 2


@pytest.fixture
def inside() -> Iterator[Origin]:
    """A host of the inner network that nobody may be led to."""
    with Origin({"/": http(b"secret")}) as inside:
        yield inside


@pytest.mark.parametrize(
    "location",
    [
        *("http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "http://localhost:{port}/", "http://2130706433:{port}/"),
        *("http://0x7f.1:{port}/", "http://0177.0.0.1:{port}/", "http://0.0.0.0:{port}/", "http://[::1]:{port}/"),
        *("http://[::ffff:127.0.0.1]:{port}/", "https://127.0.0.1:{port}/", "http://a:secret@127.0.0.1:{port}/"),
        *(
            "http://127.0.0.1:{port}\\@1.1.1.1/",
            "HTTP://127.0.0.1:{port}/",
            "http://127.0.0.1:{port}/\x7f",
            "http://./",
        ),
        *(
            "http://169.254.169.254/latest/meta-data/",
            "http://168.63.129.16/",
            "http://10.0.0.1/",
            "http://1.1.1.1:22/",
        ),
        *(
            "file:///etc/passwd",
            "ftp://127.0.0.1:{port}/",
            "gopher://127.0.0.1:{port}/_GET",
            "data:image/png;base64,AAAA",
        ),
        *("http://[", "http://[127.0.0.1]:{port}/"),
    ],
)
def test_a_redirect_to_what_is_not_allowed_opens_no_socket(inside: Origin, location: str) -> None:
    with Origin({"/": moved(location.format(port=inside.port))}) as origin:
        # Only this one port is allowed, so that the inner host differs from the origin by its port alone.
        refusal(f"http://{origin.address}/", allowed=origin.address)
        assert origin.connections == 1
    assert inside.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_refused_url_opens_no_socket(inside: Origin, host: str) -> None:
    refusal(f"http://{host}:{inside.port}/")
    assert inside.connections == 0


def loopback(_host: str, _port: int) -> list[IPAddress]:
    return [ip_address("127.0.0.1")]


def test_a_museums_own_network_is_allowed_by_network_host_and_port() -> None:
    with Origin({"/": http(BODY)}) as origin:
        for allowed in ("127.0.0.0/8", "127.0.0.1", origin.address, "museum.example", f"museum.example:{origin.port}"):
            host = "museum.example" if "museum" in allowed else "127.0.0.1"
            assert fetcher(allowed, loopback).fetch(f"http://{host}:{origin.port}/") == BODY, allowed


def test_the_systems_resolver_reads_every_spelling_of_an_address() -> None:
    assert ip_address("127.0.0.1") in resolve("localhost", 80)
    assert resolve("0x7f.1", 443) == [ip_address("127.0.0.1")]
    assert resolve("fe80::1%1", 443) == [ip_address("fe80::1")]
    with pytest.raises(socket.gaierror):
        resolve("", 80)
