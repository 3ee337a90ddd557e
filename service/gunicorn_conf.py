"""How gunicorn runs the service: one worker a device, threads, deadlines; the model is loaded after the fork."""

import atexit
import os
import resource
import shutil
import tempfile
from pathlib import Path
from typing import Any

# Counts of all workers together, in files that each of them maps. The client looks at this when it is imported.
_metrics_folder = tempfile.mkdtemp(prefix="gaze-metrics-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_folder

from gunicorn.glogging import Logger  # noqa: E402
from prometheus_client import multiprocess  # noqa: E402

from service.crew import crew  # noqa: E402
from service.images.sandbox import hide_process  # noqa: E402
from service.logs import configure_logs  # noqa: E402
from service.settings import FETCH_SLOTS, OTHER_SLOTS, SLOTS, STREAMED_SLOTS, read_settings  # noqa: E402

_master = os.getpid()
hide_process()  # and with it the workers, which have the same keys in their environment


@atexit.register
def _remove_metrics() -> None:
    if os.getpid() == _master:
        shutil.rmtree(_metrics_folder, ignore_errors=True)


class JsonLogger(Logger):
    """gunicorn's logger, which then sends its lines the way of all others."""

    def setup(self, cfg: Any) -> None:
        """Set up as gunicorn does, and then as the service does."""
        super().setup(cfg)
        configure_logs()


_settings = read_settings()

# A descriptor for each connection that gunicorn takes, and for all else; many systems give 1024.
_descriptors, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
if _descriptors != resource.RLIM_INFINITY:
    _wanted = max(_descriptors, 8192)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (_wanted if _most == resource.RLIM_INFINITY else min(_wanted, _most), _most)
    )

logger_class = JsonLogger
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "service.gunicorn_worker.GazeWorker"
threads = SLOTS + FETCH_SLOTS + STREAMED_SLOTS + OTHER_SLOTS
timeout = 60
graceful_timeout = 25
keepalive = 5
preload_app = False
# A heartbeat file on a slow disk would make a healthy worker look dead.
_memory = Path("/dev/shm")  # noqa: S108  # gunicorn makes the file itself, with a name that cannot be guessed
worker_tmp_dir = str(_memory) if _memory.is_dir() else None
control_socket_disable = True
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 16380
accesslog = None
# Else FORWARDED_ALLOW_IPS, or a caller on this machine, could change a request's scheme and path by headers.
forwarded_allow_ips = ""
forwarder_headers = ""


def pre_fork(server: Any, worker: Any) -> None:
    """Give a new worker its place among the others."""
    worker.place = crew.enlist()
    # What systemd listens on, it goes on to hold.
    worker.listeners_end_with_it = not server.systemd


def child_exit(_server: Any, worker: Any) -> None:
    """Forget the place and the gauges of a worker that has ended."""
    crew.dismiss(worker.place)
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
