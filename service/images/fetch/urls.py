"""A URL as people write it -> the same in ASCII alone, as browsers encode it, so that one text is vetted and requested.

Source: the WHATWG's URL Standard. Stricter than that: control characters within a URL, backslashes before its path, and
hosts that turn into an address only once they are encoded, are refused.
"""

import re
from urllib.parse import quote, urljoin

import idna

_BLANKS = " \t\r\n\f"
_PARTS = re.compile(
    r"(?P<scheme>https?://)(?P<authority>[^/?#\\]*)(?P<path>(?:/[^?#]*)?)(?P<query>(?:\?[^#]*)?)(?:#.*)?",
    re.IGNORECASE | re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST_AND_PORT = re.compile(r"([^@:\[\]]+)((?::[0-9]*)?)")
_MOST_HOST = 253
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Besides letters, digits and _.-~ what browsers leave as it is, % included: what is encoded already stays so.
_KEPT_IN_PATH = "!$%&'()*+,/:;=@[]^|"
_KEPT_IN_QUERY = "!$%&()*+,/:;=?@[\\]^`{|}"
_ASCII = "".join(map(chr, range(128)))


def encoded(url: str) -> str:
    """Return an http or https URL in ASCII, without blanks around it and without its fragment; others as they are.

    Path and query become UTF-8, percent-encoded, and the host what the DNS has for it (UTS #46, IDNA 2008).
    Raises ValueError for what is no URL to any reader, or not the same one to all.
    """
    url = url.strip(_BLANKS)
    if _CONTROL.search(url):
        raise ValueError("control characters")
    found = _PARTS.fullmatch(url)
    if not found:
        if url.lower().startswith(("http://", "https://")):
            raise ValueError("a host that ends with what only some readers take for its end")
        return url
    path = quote(found["path"].replace("\\", "/"), _KEPT_IN_PATH)
    return f"{found['scheme']}{_authority(found['authority'])}{path}{quote(found['query'], _KEPT_IN_QUERY)}"


def redirected(url: str, location: str) -> str:
    """Return where a `Location` leads to from a URL, encoded as `encoded` does. Raises ValueError as that does.

    location: each byte of the header as one character, as http.client gives it; UTF-8 is read as such, and other
    bytes outside ASCII are requested as they came
    """
    sent = location.encode("latin-1")
    try:
        text = sent.decode()
    except UnicodeDecodeError:
        text = quote(sent, _ASCII)
    return encoded(urljoin(url, text))


def _authority(authority: str) -> str:
    if " " in authority:
        raise ValueError("a blank in a host")
    if authority.isascii():
        return authority
    found = _HOST_AND_PORT.fullmatch(authority)
    if not found or len(found[1]) > _MOST_HOST:
        raise ValueError("a host with more than a port, or a longer one than there can be")
    labels = idna.uts46_remap(found[1], std3_rules=True, transitional=False).split(".")
    host = ".".join(label if label.isascii() else idna.alabel(label).decode() for label in labels)
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise ValueError("an address in letters that are no digits of ASCII")
    return host + found[2]
