"""Bearer keys (RFC 6750): who may ask."""

import hmac
from collections.abc import Sequence
from hashlib import sha256

from service.documents.annotation_page import CONTEXT_PATH

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/docs", "/openapi.json", CONTEXT_PATH})
"""What needs no key: the page and the documentation hold no secret, and a browser sends no key with a navigation."""

OPEN_FOLDER = "/static/"


class Keys:
    """The keys of which callers must send one; none, and everybody may ask. Only their digests are kept here."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = tuple(sha256(key.encode()).digest() for key in keys)

    def digest_of(self, authorization: str) -> bytes | None:
        """Return the digest of the known key in this header `Authorization`, or None.

        Each key is compared, in constant time, and digests are of one length: the time taken tells nothing.
        """
        scheme, _, sent = authorization.partition(" ")
        digest = sha256(sent.strip().encode()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return digest if scheme.lower() == "bearer" and any(matches) else None

    def guard(self, path: str) -> bool:
        """Say whether a request for this path must bring a key."""
        return bool(self._digests) and path not in OPEN_PATHS and not path.startswith(OPEN_FOLDER)
