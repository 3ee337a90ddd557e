"""Which hosts and addresses an image may be fetched from."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_WHOLE = ("off", "public")
_PUBLIC_PORTS = (80, 443)
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_HOST_AND_PORT = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^:]+))(?::(?P<port>[0-9]{1,5}))?")

# Not everything that is not for the public is what `ipaddress` calls private.
_METADATA = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32"),
        # Amazon, Google, Oracle, Scaleway, Alibaba, Akamai, OpenStack
        *("fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128", "fd00:100::100:200/128"),
        *("fd00:a9fe:a9fe::/64", "fe80::a9fe:a9fe/128"),
    )
)
_NOT_PUBLIC = (
    *_METADATA,
    *(
        ipaddress.ip_network(network)
        for network in (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24"),
            *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
            *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        )
    ),
)
# Of IPv6 only what IANA hands out to the public counts, less what carries an IPv4 address or is set aside.
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC_IPV6 = tuple(
    ipaddress.ip_network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
# The third quarter of an ISATAP address, but for the two bits that say how unique and to how many it is.
_ISATAP, _ISATAP_MASK = 0x0000_5EFE, 0xFCFF_FFFF


@dataclass(frozen=True)
class FetchPolicy:
    """What GAZE_URL_FETCH allows: nothing, public addresses, or also some hosts and networks of one's own."""

    enabled: bool = True
    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[IPNetwork, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read 'off', 'public', or a comma-separated list of host, host:port and networks. Raises ValueError."""
        text = text.strip().lower()
        if text in _WHOLE:
            return cls(enabled=text == "public")
        hosts: set[tuple[str, int | None]] = set()
        networks: list[IPNetwork] = []
        for part in (part.strip() for part in text.split(",")):
            try:
                networks.append(ipaddress.ip_network(part))
                continue
            except ValueError:
                pass
            host = _host_and_port(part)
            if host is None:
                raise ValueError("must be 'off', 'public', or a comma-separated list of host, host:port and networks")
            hosts.add(host)
        return cls(True, frozenset(hosts), tuple(networks))

    def allows(self, host: str, port: int, address: IPAddress) -> bool:
        """Say whether this address, that the host's name resolved to, may be connected to on this port."""
        address = unmapped(address)
        if any(meant in network for meant in _meant(address) for network in _METADATA):
            return False
        if (host, None) in self.hosts or (host, port) in self.hosts:
            return True
        if any(address in network for network in self.networks):
            return True
        return port in _PUBLIC_PORTS and is_public(address)


def _host_and_port(text: str) -> tuple[str, int | None] | None:
    found = _HOST_AND_PORT.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if not found or (port is not None and not 0 < port < 65536):
        return None
    if not found["address"]:
        # A host of that name is less likely than a list that means something else.
        usable = _HOST.fullmatch(found["name"]) and found["name"] not in _WHOLE
        return (found["name"], port) if usable else None
    try:
        return str(ipaddress.IPv6Address(found["address"])), port
    except ValueError:
        return None


def is_public(address: IPAddress) -> bool:
    """Say whether this address is one of the public Internet, and of no nearer network."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC)
    if address not in _PUBLIC_IPV6 or any(address in network for network in _NOT_PUBLIC_IPV6):
        return False
    return (int(address) >> 32) & _ISATAP_MASK != _ISATAP


def unmapped(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that ::ffff:0:0/96 carries, else the address itself."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _meant(address: IPAddress) -> tuple[IPAddress, ...]:
    """Return the address, and every IPv4 address that a router or a tunnel could turn it into."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    # Where ISATAP, NAT64 and what is older have it; a network may use NAT64 with a prefix of its own.
    last_quarter = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    six_to_four = (address.sixtofour,) if address.sixtofour else ()
    return (address, last_quarter, *six_to_four, *(address.teredo or ()))
