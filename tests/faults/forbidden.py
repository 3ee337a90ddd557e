"""Addresses that are nobody's business, in every spelling that some reader of URLs takes for one of them."""

from ipaddress import IPv4Address

IPV4 = tuple(
    IPv4Address(address)
    for address in (
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.254"),
        *("192.168.1.1", "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.64.0.1", "100.127.255.254"),
        *("100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    )
)
IPV6 = (
    *("::", "::1", "0:0:0:0:0:0:0:1", "0000:0000:0000:0000:0000:0000:0000:0001", "fe80::1", "fe80::a9fe:a9fe"),
    *("fec0::1", "feff::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fd00:a9fe:a9fe::1", "ff02::1"),
    *("ff0e::1", "100::1", "2001::1", "2001:10::1", "2001:db8::1", "3fff::1", "5f00::1", "64:ff9b:1::1", "4000::1"),
)
NAMES = ("localhost", "LOCALHOST", "localhost.")
PUBLIC = "93.184.215.14"


def carriers(address: IPv4Address) -> tuple[str, ...]:
    """Return what carries an address of IPv4: mapped, compatible, translated, ISATAP, NAT64, 6to4 and Teredo."""
    high, low = divmod(int(address), 1 << 16)
    against = int(address) ^ 0xFFFF_FFFF
    return (
        *(f"::ffff:{address}", f"::ffff:{high:x}:{low:x}", f"0:0:0:0:0:FFFF:{high:04X}:{low:04X}"),
        *(f"::{address}", f"::ffff:0:{address}", f"::5efe:{address}", f"::200:5efe:{address}"),
        *(f"fe80::5efe:{address}", f"2606:4700::5efe:{address}", f"2606:4700::200:5efe:{high:x}:{low:x}"),
        *(f"64:ff9b::{address}", f"64:ff9b:1::{address}", f"2002:{high:x}:{low:x}::1"),
        *(f"2001:0:{high:x}:{low:x}:8000::1", f"2001:0:808:808:8000:63bf:{against >> 16:x}:{against & 0xFFFF:x}"),
    )


def spellings(address: IPv4Address) -> tuple[str, ...]:
    """Return what may stand between the slashes of a URL and be taken for this address."""
    text, number = str(address), int(address)
    parts = address.packed
    a, b, c, d = parts
    return (
        *(text, f"{text}.", f"{text}:80", f"{text}:443", f"{text}:22", f"{text}:8000", f"{text}:9"),
        # As C's own reader of addresses takes it: fewer parts, other bases.
        *(f"{a}.{b}.{c << 8 | d}", f"{a}.{number & 0xFF_FFFF}", f"{number}", f"{number:#x}", f"0X{number:08X}"),
        *(f"0{number:o}", f"000000{number:o}", ".".join(f"{part:#x}" for part in parts)),
        *(".".join(f"0{part:o}" for part in parts), f"{a:#x}.{b}.0{c:o}.{d}", f"{a:#04x}.{number & 0xFF_FFFF:#x}"),
        # As a browser does: percent-encoded, in the digits and dots of other scripts.
        *("".join(f"%{ord(sign):02x}" for sign in text), text.replace(".", "%2e"), text.replace(".", "。")),
        *("".join(chr(ord(sign) + 0xFEE0) for sign in text), text.replace("1", "①").replace("0", "⓪")),
        # As one reader takes it and another does not.
        *(f"{PUBLIC}@{text}", f"{text}@{PUBLIC}", f"{PUBLIC}\\@{text}", f"{text}\\@{PUBLIC}"),
        *(f"{text}#@{PUBLIC}", f"{text}?@{PUBLIC}", f"{text}%00.museum.example", f"{text}%2f", f"[{text}]"),
        *(f"[{carrier}]" for carrier in carriers(address)),
        *(f"[::ffff:{text}]:8080", f"[fe80::5efe:{text}%25lo]", f"[fe80::5efe:{text}%lo]"),
    )


EVERY = (
    *(spelled for address in IPV4 for spelled in spellings(address)),
    *(f"[{address}]" for address in IPV6),
    *("[fe80::1%25lo]", "[fe80::1%lo]", "[::1%1]", "[::1]:8080"),
    *NAMES,
)
"""Every spelling of every address."""
