"""Which addresses are public, and what GAZE_URL_FETCH allows besides them."""

import ipaddress
from ipaddress import ip_address

import pytest

from service.errors import UrlNotAllowed
from service.images.fetch.addresses import FetchPolicy, is_public, unmapped
from service.images.fetch.fetcher import FetchLimits, ImageFetcher

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "11.0.0.1", "93.184.216.34", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.1", "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"),
    *("192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255"),
    *("203.0.112.255", "203.0.114.0", "223.255.255.255"),
    *("2001:200::1", "2001:4860:4860::8888", "2003::1", "2400:cb00::1", "2606:4700::1111", "2a00:1450:4001::200e"),
    *("2620:4f:8001::1", "3ffe::1", "2606:4700:0:0:0:0:7f00:1"),
]
NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255"),
    *("127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1"),
    *("198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    "255.255.255.255",
    # IPv6: unspecified, loopback, IPv4-mapped, -compatible and -translated, as numbers and as IPv4 is written.
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "::7f00:1", "::8.8.8.8"),
    *("::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"),
    # ISATAP, link-local, in a public network, and with the bit of a globally unique identifier.
    *("::5efe:127.0.0.1", "fe80::5efe:127.0.0.1", "fe80::5efe:10.0.0.1", "2606:4700::5efe:7f00:1"),
    *("2606:4700::200:5efe:7f00:1", "2606:4700::100:5efe:7f00:1", "2606:4700::300:5efe:7f00:1"),
    # NAT64, 6to4, Teredo.
    *("64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:808:808::1"),
    *("2001::1", "2001:0:4136:e378:8000:63bf:80ff:fffe"),
    # Private, site-local, link-local, multicast, discard, documentation, benchmarks, ORCHID, AS112, SRv6.
    *("fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fec0::1", "feff::1", "fe80::1", "fe80::a9fe:a9fe"),
    *("ff02::1", "ff0e::1", "100::1", "100:0:0:1::1", "2001:db8::1", "3fff::1", "2001:2::1", "2001:10::1"),
    *("2001:20::1", "2001:1ff::1", "2620:4f:8000::1", "5f00::1"),
    # What IANA has not given to anyone.
    *("1::1", "4000::1", "8000::1", "e000::1"),
]
METADATA = [
    *("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
    *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:100::100:200"),
    *("fd00:a9fe:a9fe::1", "fe80::a9fe:a9fe", "::ffff:169.254.169.254", "::169.254.169.254"),
    *("::ffff:0:169.254.169.254", "64:ff9b::169.254.169.254", "64:ff9b::a83f:8110", "64:ff9b:1::169.254.169.254"),
    # A NAT64 prefix of one's own, 6to4, ISATAP, Teredo's client and its server.
    *("fd12:64::169.254.169.254", "fd12:64::168.63.129.16", "2002:a9fe:a9fe::1", "fe80::5efe:169.254.169.254"),
    *("2001:db8::200:5efe:169.254.169.254", "2001:0:808:808:8000:63bf:5601:5601", "2001:0:a9fe:a9fe:8000::1"),
]
EVERYTHING = FetchPolicy.parse("0.0.0.0/0,::/0,museum.example")


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(ip_address(address))
    policy = FetchPolicy.parse("public")
    assert policy.allows("museum.example", 443, ip_address(address))
    assert policy.allows("museum.example", 80, ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    assert not is_public(unmapped(ip_address(address)))
    policy = FetchPolicy.parse("public")
    assert not policy.allows("museum.example", 443, ip_address(address))
    assert not policy.allows(address, 80, ip_address(address))


@pytest.mark.parametrize("port", [1, 21, 22, 25, 79, 81, 442, 444, 6379, 8080, 8443, 65535])
def test_other_ports_of_public_hosts_are_refused(port: int) -> None:
    assert not FetchPolicy.parse("public").allows("museum.example", port, ip_address("1.1.1.1"))


@pytest.mark.parametrize("address", METADATA)
def test_metadata_is_refused_even_where_everything_is_allowed(address: str) -> None:
    assert not EVERYTHING.allows("museum.example", 80, ip_address(address))
    assert not FetchPolicy.parse(f"[{ip_address(address)}]" if ":" in address else address).allows(
        address, 80, ip_address(address)
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "10.9.8.7", "::1", "fd00::1", "64:ff9b::808:808", "::ffff:10.0.0.1"])
def test_the_widest_networks_allow_all_but_metadata(address: str) -> None:
    assert EVERYTHING.allows("elsewhere.example", 5432, ip_address(address))


@pytest.mark.parametrize(
    ("text", "hosts", "networks"),
    [
        ("museum.example", {("museum.example", None)}, []),
        ("museum.example:8080", {("museum.example", 8080)}, []),
        ("MUSEUM.Example:8080", {("museum.example", 8080)}, []),
        ("iiif_server:80", {("iiif_server", 80)}, []),
        ("localhost", {("localhost", None)}, []),
        ("xn--mnchen-3ya.example", {("xn--mnchen-3ya.example", None)}, []),
        (" a.example , b.example:1 ", {("a.example", None), ("b.example", 1)}, []),
        ("a.example:65535", {("a.example", 65535)}, []),
        ("10.1.0.0/16", set(), ["10.1.0.0/16"]),
        ("10.1.0.0/255.255.0.0", set(), ["10.1.0.0/16"]),
        ("10.1.2.3", set(), ["10.1.2.3/32"]),
        ("10.1.2.3:8000", {("10.1.2.3", 8000)}, []),
        ("::1", set(), ["::1/128"]),
        ("fd12:3456::/32", set(), ["fd12:3456::/32"]),
        ("[::1]:8000", {("::1", 8000)}, []),
        ("[FD12:0:0::1]", {("fd12::1", None)}, []),
        ("10.0.0.0/8,museum.example:8080", {("museum.example", 8080)}, ["10.0.0.0/8"]),
    ],
)
def test_hosts_and_networks_are_read(text: str, hosts: set[tuple[str, int | None]], networks: list[str]) -> None:
    policy = FetchPolicy.parse(text)
    assert policy.enabled
    assert policy.hosts == hosts
    assert policy.networks == tuple(ipaddress.ip_network(network) for network in networks)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            ",",
            "a.example,",
            "off,a.example",
            "a.example,public",
            "a b",
            "a.example:",
            "a.example:0",
            "a.example:65536",
        ),
        *("a.example:-1", "a.example:80:80", "a.example:٣", "a.example:http", "a.example:" + "9" * 5000, ":80"),
        *(
            "-a.example",
            "a-.example",
            "a..example",
            ".example",
            "a.example.",
            "*.example",
            "a" * 254,
            "münchen.example",
        ),
        *(
            "http://a.example",
            "a.example/path",
            "user@a.example",
            "10.1.2.3/16",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
        ),
        *(
            "fd00::1/64",
            "::1/129",
            "[::1",
            "::1]:80",
            "[::1]:",
            "[::1]:0",
            "[::1]80",
            "[::g]",
            "[1.2.3.4]",
            "[]",
            "[:::]",
        ),
    ],
)
def test_what_is_no_host_and_no_network_is_refused_without_an_echo(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be 'off', 'public', or a comma-separated list of host, host:port and"):
        FetchPolicy.parse(text)


@pytest.mark.parametrize(
    ("text", "enabled"),
    [("off", False), ("OFF", False), (" off ", False), ("public", True), ("Public", True), ("public\n", True)],
)
def test_off_and_public(text: str, enabled: bool) -> None:
    assert FetchPolicy.parse(text) == FetchPolicy(enabled, frozenset(), ())


@pytest.mark.parametrize(
    ("allowed", "host", "port", "address", "expected"),
    [
        ("museum.example", "museum.example", 8080, "10.0.0.1", True),
        ("museum.example", "museum.example", 80, "127.0.0.1", True),
        ("museum.example", "www.museum.example", 80, "10.0.0.1", False),
        ("museum.example", "example", 80, "10.0.0.1", False),
        ("museum.example:8080", "museum.example", 8080, "10.0.0.1", True),
        ("museum.example:8080", "museum.example", 8081, "10.0.0.1", False),
        ("museum.example:8080", "museum.example", 80, "10.0.0.1", False),
        ("museum.example:8080", "museum.example", 8081, "1.1.1.1", False),
        # The public ones stay allowed.
        ("museum.example:8080", "museum.example", 443, "1.1.1.1", True),
        ("10.1.0.0/16", "museum.example", 443, "1.1.1.1", True),
        ("10.1.0.0/16", "anything.example", 5432, "10.1.255.255", True),
        ("10.1.0.0/16", "anything.example", 80, "10.2.0.0", False),
        ("10.1.0.0/16", "anything.example", 80, "::ffff:10.1.0.1", True),
        ("10.1.2.3:8000", "10.1.2.3", 8000, "10.1.2.3", True),
        ("10.1.2.3:8000", "10.1.2.3", 80, "10.1.2.3", False),
        # An entry with a port is of a name as it is written; another name for the same address is not meant.
        ("10.1.2.3:8000", "other.example", 8000, "10.1.2.3", False),
        ("::1", "::1", 9000, "::1", True),
        ("::1", "::2", 9000, "::2", False),
        ("[::1]:8000", "::1", 8000, "::1", True),
        ("[::1]:8000", "::1", 8001, "::1", False),
        ("fd12:3456::/32", "anything.example", 9000, "fd12:3456::9", True),
        ("fd12:3456::/32", "anything.example", 80, "fd12:3457::9", False),
    ],
)
def test_what_is_allowed(allowed: str, host: str, port: int, address: str, expected: bool) -> None:
    assert FetchPolicy.parse(allowed).allows(host, port, ip_address(address)) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [("::ffff:1.2.3.4", "1.2.3.4"), ("::1", "::1"), ("::1.2.3.4", "::1.2.3.4"), ("1.2.3.4", "1.2.3.4")],
)
def test_unmapped(address: str, expected: str) -> None:
    assert unmapped(ip_address(address)) == ip_address(expected)


def test_a_host_is_asked_only_if_all_of_its_addresses_are_allowed() -> None:
    addresses = [ip_address("127.0.0.1"), ip_address("10.0.0.1")]
    fetcher = ImageFetcher(FetchPolicy.parse("127.0.0.1"), FetchLimits(1, 1.0), lambda _host, _port: addresses)
    with pytest.raises(UrlNotAllowed):
        fetcher.fetch("http://museum.example:9/a.jpg")
