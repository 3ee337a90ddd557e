"""Who may ask, and how often: what a request's head is enough to decide, by keys and quotas."""

from collections.abc import Sequence

from service.api.access.clients import Address, Network, client_address
from service.api.access.keys import Keys
from service.api.access.quota import Quota, Rate, counted_as
from service.errors import Unauthorized

_COUNTED = "/v1/"
"""What a quota counts; who supervises the service is never refused."""


class Access:
    """The keys that open the service, the quota of each caller, and the proxies that say who the caller is."""

    def __init__(self, keys: Sequence[str], rates: Sequence[Rate], trusted_proxies: Sequence[Network]) -> None:
        self._keys = Keys(keys)
        self._quota = Quota(rates)
        self._trusted_proxies = trusted_proxies

    def client(self, peer: str | None, forwarded_for: str) -> Address | None:
        """Return the address that asks, of which counts as one what `counted_as` says.

        peer: who has connected; forwarded_for: the header X-Forwarded-For
        """
        return client_address(peer or "", forwarded_for, self._trusted_proxies)

    def require(self, path: str, authorization: str, client: Address | None, *, counted: bool = False) -> bool:
        """Count a request, unless it is counted already, and return whether it is.

        Raises RateLimited, and Unauthorized where it lacks a key.
        """
        key = self._keys.digest_of(authorization)
        if path.startswith(_COUNTED) and not counted:
            self._quota.take(key or counted_as(client))
            counted = True
        if key is None and self._keys.guard(path):
            raise Unauthorized
        return counted
