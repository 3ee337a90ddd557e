"""What gunicorn's worker and the app in it share."""

import threading
from functools import cache

from service.api.access.callers import Access
from service.limits.admission import FETCH_SLOTS, SLOTS, Admission
from service.server.handover import crew
from service.settings import read_settings

shutting_down = threading.Event()
"""Set by the worker once this process has been told to end; /readyz then says so."""

admission = Admission(SLOTS, FETCH_SLOTS, crew.taken)
"""The worker takes places before a request costs a thread, the app where that was not possible.

All workers together have as many as one would have: on the same cores, more of them would only wait longer.
"""


@cache
def access() -> Access:
    """Return who may ask, and how often: the worker looks at that before it reads a body, the app each time."""
    settings = read_settings()
    return Access(settings.api_keys, settings.rate_limit, settings.trusted_proxies)
