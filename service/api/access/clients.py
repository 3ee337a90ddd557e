"""Which address asks: the peer's, or what a trusted proxy says of it."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_HOP = re.compile(r"([0-9.]+)(?::[0-9]{1,5})?|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")
"""An address of X-Forwarded-For, to which some proxies add a port; a zone, which could be any text, is none."""


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the addresses and networks of a comma-separated list. Raises ValueError."""
    return tuple(_network(part.strip()) for part in text.split(",") if part.strip())


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> Address | None:
    """Return the address that a request comes from, or None where the peer has none, as on a Unix socket.

    forwarded_for: X-Forwarded-For, to which each proxy adds on the right whom it was asked by. It is read from there,
    one address further for as long as the last is a trusted proxy's; what is no address ends it.
    """
    client = _address(peer)
    hops = forwarded_for.split(",")
    while hops and client and any(client in network for network in trusted):
        further = _of_hop(hops.pop())
        if further is None:
            break
        client = further
    return client


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError("it must name addresses and networks, such as 10.0.0.7 or 10.1.0.0/16") from None


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # On a socket for both versions, IPv4's addresses look so.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _of_hop(hop: str) -> Address | None:
    found = _HOP.fullmatch(hop.strip())
    return _address(found[found.lastindex or 0]) if found else None
