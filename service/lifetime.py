"""Whether this process has been told to end: set by gunicorn's worker, read by /readyz."""

import threading

shutting_down = threading.Event()
