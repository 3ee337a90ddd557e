"""What browsers may send and read: CORS, and pages of other sites."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from service.errors import ForeignOrigin, MisdirectedRequest

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_USUAL_PORT = re.compile(r"http:.*:80|https:.*:443")

_EXPOSED = {"Access-Control-Expose-Headers": "ETag, Retry-After, Server-Timing, X-Request-ID"}

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match, X-Request-ID",
    "Access-Control-Max-Age": "3600",
}
"""What a browser is told that asks, before it sends a request, whether it may."""

PROBES = ("/livez", "/readyz", "/metrics")
"""What a supervisor asks for, by whatever name of the host."""


@dataclass(frozen=True)
class CorsPolicy:
    """The origins whose pages may read answers; keys are sent by these pages themselves, never by the browser."""

    origins: frozenset[str] = frozenset()
    every: bool = False

    @classmethod
    def parse(cls, text: str) -> "CorsPolicy":
        """Return the policy of a comma-separated list of origins, or of `*`. Raises ValueError."""
        origins = frozenset(part.strip() for part in text.split(",") if part.strip())
        if origins == {"*"}:
            return cls(every=True)
        if not all(_ORIGIN.fullmatch(origin) and not _USUAL_PORT.fullmatch(origin) for origin in origins):
            # Any other spelling would never be equal to what a browser sends.
            raise ValueError(
                "it must be * alone, or origins as browsers send them: scheme://host or scheme://host:port, in small "
                "letters, without a path and without the scheme's usual port"
            )
        return cls(origins)

    def grants(self, method: str, origin: str | None, asked_method: str | None) -> bool:
        """Say whether a request is a browser's preflight of a page that may ask.

        asked_method: the header `Access-Control-Request-Method`, which only a preflight has
        """
        return method == "OPTIONS" and asked_method is not None and self._allows(origin)

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return what every answer to a request with this header `Origin` says of it; nothing where CORS is off."""
        if self.every:
            return {"Access-Control-Allow-Origin": "*", **_EXPOSED}
        if not self.origins:
            return {}
        # A cache must not give one origin's answer to another.
        varying = {"Vary": "Origin"}
        return {**varying, "Access-Control-Allow-Origin": origin, **_EXPOSED} if origin in self.origins else varying

    def _allows(self, origin: str | None) -> bool:
        return self.every or origin in self.origins


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@/\\?#\s]*)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_OWN_NAMES = re.compile(
    # A single label, or what ends in a number, which is an IPv4 address in some spelling, or in a name for private use.
    r"[^.]*|(.*\.)?([0-9]+|0x[0-9a-f]*|svc|cluster\.local|local|localhost|internal|home\.arpa)"
)
_USUAL_PORTS = {"http": "80", "https": "443"}
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

Header = Callable[[str], str | None]
"""Gives a request's header by its name."""


@dataclass(frozen=True)
class Hosts:
    """The names that this service may be called by, besides those that no stranger can own in public DNS."""

    names: frozenset[str] = frozenset()
    every: bool = False

    @classmethod
    def parse(cls, text: str) -> "Hosts":
        """Return what a comma-separated list of names means, or `*`. Raises ValueError."""
        names = frozenset(part.strip().lower().removesuffix(".") for part in text.split(",") if part.strip())
        if names == {"*"}:
            return cls(every=True)
        if not all(map(_NAME.fullmatch, names)):
            raise ValueError(
                "it must be * alone, or names such as gaze.museum.example, without a scheme and without a port"
            )
        return cls(names)

    def have(self, host: str) -> bool:
        """Say whether a header `Host` names this service. No browser leaves it out or sends it empty."""
        found = _HOST.fullmatch(host.strip().lower())
        if found is None:
            return self.every
        name = found[1].removesuffix(".")
        return self.every or name in self.names or name.startswith("[") or bool(_OWN_NAMES.fullmatch(name))


class ForeignPages:
    """Tells what a page of another site sent, through a visitor's browser, from what is to be answered.

    A page can send what browsers call simple requests anywhere, and cannot read the answers. It says where it comes
    from in `Origin`, and to https and localhost in `Sec-Fetch-Site` as well. A page whose own name is made to lead here
    (DNS rebinding) is of this origin to the browser, and reads the answers: but its name stands in `Host`.
    Sources: https://fetch.spec.whatwg.org/#origin-header, https://www.w3.org/TR/fetch-metadata/, RFC 9110, section
    15.5.20.

    hosts:      besides that of public_url
    cors:       origins whose pages may ask
    public_url: the service's own address, as others see it
    """

    def __init__(self, hosts: Hosts, cors: CorsPolicy, public_url: str | None) -> None:
        own = urlsplit(public_url) if public_url else None
        self._own = _origin(own.scheme, own.netloc) if own else None
        self._hosts = Hosts(hosts.names | {_name(own.netloc)}, hosts.every) if own else hosts
        self._cors = cors

    @classmethod
    def where_open(
        cls, keys: Sequence[str], hosts: Hosts, cors: CorsPolicy, public_url: str | None
    ) -> "ForeignPages | None":
        """Return None where keys are set: a page of another site has none, and a browser sends none by itself."""
        return None if keys else cls(hosts, cors, public_url)

    def require_own(self, method: str, scheme: str, header: Header, *, is_costly: bool = False) -> None:
        """Raise MisdirectedRequest for a foreign name, and ForeignOrigin for what costs work and a foreign page sent.

        is_costly: whether it costs work although its method says that nothing changes
        """
        host = header("Host") or ""
        if not self._hosts.have(host):
            raise MisdirectedRequest
        is_safe = method in _SAFE_METHODS
        if (not is_safe or is_costly) and self._is_foreign(scheme, host, header, is_safe=is_safe):
            raise ForeignOrigin

    def _is_foreign(self, scheme: str, host: str, header: Header, *, is_safe: bool) -> bool:
        if self._cors.every:
            return False
        origin, site = header("Origin"), header("Sec-Fetch-Site")
        if origin is not None:
            return origin not in self._cors.origins and not self._is_own(origin, scheme, host, site)
        if site is not None:
            return site not in ("same-origin", "none")
        # Of a GET for a picture or a frame, a browser says nothing to plain http, except that it is one.
        return is_safe and (header("User-Agent") or "").startswith("Mozilla/")

    def _is_own(self, origin: str, scheme: str, host: str, site: str | None) -> bool:
        of_scheme, _, of_host = origin.lower().partition("://")
        if not of_host or (asking := _origin(of_scheme, of_host)) is None:
            return False
        # Behind a proxy the scheme and the port are its own; the browser, which has seen them, tells the same.
        is_same = site == "same-origin" and asking[1].removesuffix(".") == _name(host)
        return is_same or asking in (_origin(scheme, host), self._own)


def _origin(scheme: str, host: str) -> tuple[str, str, str] | None:
    """Return an origin of the web: its scheme, its host, and its port even where it is the usual one."""
    found = _HOST.fullmatch(host.lower())
    return (scheme, found[1], found[2] or _USUAL_PORTS.get(scheme, "")) if found else None


def _name(host: str) -> str:
    found = _HOST.fullmatch(host.lower())
    return found[1].removesuffix(".") if found else ""
