"""CORS: which other web pages a browser lets read the answers; none unless it is set."""

import re
from dataclasses import dataclass

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_USUAL_PORT = re.compile(r"http:.*:80|https:.*:443")

_EXPOSED = {"Access-Control-Expose-Headers": "ETag, Retry-After, Server-Timing, X-Request-ID"}

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match, X-Request-ID",
    "Access-Control-Max-Age": "3600",
}
"""What a browser is told that asks, before it sends a request, whether it may."""


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
