"""Bearer keys (RFC 6750): who may ask."""

import hmac
from collections.abc import Sequence

from flask import Request

from service.errors import Unauthorized

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/docs", "/openapi.json"})
"""What needs no key: the page and the documentation hold no secret, and a browser sends no key with a navigation."""

OPEN_FOLDER = "/static/"


def require_key(request: Request, keys: Sequence[str]) -> None:
    """Raise Unauthorized if keys are configured, the path needs one, and the request brings none of them.

    Every key is compared, in constant time, so that the time taken tells nothing.
    """
    if not keys or request.path in OPEN_PATHS or request.path.startswith(OPEN_FOLDER):
        return
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    matches = [hmac.compare_digest(sent.strip().encode(), key.encode()) for key in keys]
    if scheme.lower() != "bearer" or not any(matches):
        raise Unauthorized
