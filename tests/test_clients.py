"""Which address asks: nobody is believed but trusted proxies, and nothing that is sent is an error."""

from ipaddress import ip_address

import pytest

from service.api.access.callers import client_address, parse_networks

TRUSTED = "10.0.0.0/8, 127.0.0.1, 2001:db8:ffff::/48"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        # Whoever is not trusted is the client, whatever it says.
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("2001:db8::9", "198.51.100.1", "2001:db8::9"),
        # A trusted proxy is believed, and so is each one that it names, but nobody further left.
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.9.9.9 ,10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66,198.51.100.1,2001:db8:ffff::1", "198.51.100.1"),
        # All are trusted: the request began at the last of them.
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        # As some proxies write it.
        ("10.0.0.1", "198.51.100.1:49152", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:49152", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        # IPv4 on a socket for both versions.
        ("::ffff:203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, ::ffff:10.0.0.2", "198.51.100.1"),
        # What cannot be read ends it at the last that could.
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1,", "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "[", "10.0.0.1"),
        ("10.0.0.1", "[::1", "10.0.0.1"),
        ("10.0.0.1", "::1]", "10.0.0.1"),
        ("10.0.0.1", "[::1]:x", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:999999", "10.0.0.1"),
        ("10.0.0.1", "fe80::1%any text", "10.0.0.1"),
        ("10.0.0.1", "[]:80", "10.0.0.1"),
        ("10.0.0.1", ":", "10.0.0.1"),
        ("10.0.0.1", "300.1.1.1", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.0/24", "10.0.0.1"),
        ("10.0.0.1", "010.0.0.2", "10.0.0.1"),
        ("10.0.0.1", "\u00b2.\u00b2.\u00b2.\u00b2", "10.0.0.1"),
        ("10.0.0.1", "\xff\xfe\x00", "10.0.0.1"),
        ("10.0.0.1", "1" * 10_000, "10.0.0.1"),
        ("10.0.0.1", "," * 10_000, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1" + ",10.0.0.2" * 1_100, "198.51.100.1"),
    ],
)
def test_client_is_the_nearest_that_is_no_trusted_proxy(peer: str, forwarded_for: str, expected: str) -> None:
    assert client_address(peer, forwarded_for, parse_networks(TRUSTED)) == ip_address(expected)


@pytest.mark.parametrize("forwarded_for", ["", "198.51.100.1", "10.0.0.1"])
def test_nobody_is_trusted_unless_it_is_set(forwarded_for: str) -> None:
    assert client_address("127.0.0.1", forwarded_for, ()) == ip_address("127.0.0.1")


@pytest.mark.parametrize("peer", ["", "/run/gaze.sock", "unix:"])
def test_a_peer_without_an_address_is_none(peer: str) -> None:
    assert client_address(peer, "198.51.100.1", parse_networks("0.0.0.0/0,::/0")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.7", ["10.0.0.7/32"]),
        (" 10.1.0.0/16 ,::1,, fd00::/8", ["10.1.0.0/16", "::1/128", "fd00::/8"]),
        ("", []),
    ],
)
def test_networks_are_read(text: str, expected: list[str]) -> None:
    assert [str(network) for network in parse_networks(text)] == expected


@pytest.mark.parametrize(
    "text", ["10.1.2.3/16", "proxy.example", "10.0.0.1:80", "10.0.0.1 10.0.0.2", "*", "10.0.0.0/33"]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as") as raised:
        parse_networks(text)
    assert text not in str(raised.value)
