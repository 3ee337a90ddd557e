"""What the event loop and the app of one worker share."""

import threading
from functools import cache

from service.api.access.callers import Access
from service.limits.admission import (
    FETCH_SLOTS,
    OTHER_SLOTS,
    SLOTS,
    STREAMED_SLOTS,
    STREAMED_SLOTS_EACH,
    Admission,
    PerClientAdmission,
)
from service.server.handover import handover
from service.settings import read_settings

shutting_down = threading.Event()
"""Set once this process is to end; /readyz then says so."""

admission = Admission(SLOTS, FETCH_SLOTS, handover.taken)
"""Of all workers together, since more of them on the same cores would only let each other wait.

The event loop takes slots before a request costs a thread, the app where that was not possible.
"""

streamed_slots = PerClientAdmission(STREAMED_SLOTS, STREAMED_SLOTS_EACH)
other_slots = Admission(OTHER_SLOTS)


@cache
def access() -> Access:
    """Return who may ask, and how often: the event loop checks it before it reads a body, the app each time."""
    settings = read_settings()
    return Access(settings.api_keys, settings.rate_limit, settings.trusted_proxies)
