"""What gunicorn's worker and the app in it share."""

import threading

from service.admission import Admission
from service.settings import FETCH_SLOTS, SLOTS

shutting_down = threading.Event()
"""Set by the worker once this process has been told to end; /readyz then says so."""

admission = Admission(SLOTS, FETCH_SLOTS)
"""The worker takes places before a request costs a thread, the app where that was not possible."""
