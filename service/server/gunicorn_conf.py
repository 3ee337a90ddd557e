"""How gunicorn runs the service: one worker a device, threads, deadlines; the model is loaded after the fork."""

import atexit
import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# Counts of all workers together, in files that each of them maps. The client looks at this when it is imported.
_metrics_folder = Path(tempfile.mkdtemp(prefix="gaze-metrics-"))
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_folder)

import structlog  # noqa: E402

from service.api.metric_files import forget  # noqa: E402
from service.errors import StartError  # noqa: E402
from service.images.isolation.sandbox import hide_process  # noqa: E402
from service.limits.admission import FETCH_SLOTS, OTHER_SLOTS, SLOTS, STREAMED_SLOTS  # noqa: E402
from service.logs import configure_logs  # noqa: E402
from service.server.handover import FAILED, LOADING, handover  # noqa: E402
from service.settings import read_settings  # noqa: E402
from service.zero_shot.phrase_lists import built_in_folder, read_lists  # noqa: E402

log = structlog.get_logger()

_master = os.getpid()
_ended: set[int] = set()
hide_process()  # and with it the workers, which have the same keys in their environment


@atexit.register
def _remove_metrics() -> None:
    if os.getpid() == _master:
        shutil.rmtree(_metrics_folder, ignore_errors=True)


_settings = read_settings()

# A descriptor for each connection that gunicorn takes, and for all else; many systems give 1024.
_descriptors, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
if _descriptors != resource.RLIM_INFINITY:
    _wanted = max(_descriptors, 8192)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (_wanted if _most == resource.RLIM_INFINITY else min(_wanted, _most), _most)
    )

logconfig_dict = {
    "handlers": {"json": {"()": configure_logs}},
    "root": {"level": "INFO", "handlers": ["json"]},
    "loggers": {"gunicorn.error": {"propagate": True}},  # which gunicorn gives a handler of its own
}
bind = _settings.listens_on
workers = _settings.workers
worker_class = "service.server.worker.GazeWorker"
threads = SLOTS + FETCH_SLOTS + STREAMED_SLOTS + OTHER_SLOTS
timeout = 60
graceful_timeout = 25
keepalive = 5
sendfile = False  # the event loop sends what a caller does not take at once
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


def when_ready(server: Any) -> None:
    """Take SIGHUP in our own way; gunicorn has no setting for it."""
    server.reload = partial(_reload, server)
    server.manage_workers = partial(_manage_workers, server, server.manage_workers)


def _in_state(server: Any, *states: int) -> list[int]:
    return [pid for pid, worker in server.WORKERS.items() if handover.state_of(worker.index) in states]


def _manage_workers(server: Any, manage_workers: Callable[[], None]) -> None:
    """Start and end workers until there are as many as there are to be.

    None is ended while its successor loads, or for one that has failed to load and is still on its way out.
    """
    if len(server.WORKERS) <= server.num_workers or not _in_state(server, LOADING, FAILED):
        manage_workers()


def _reload(server: Any) -> None:
    """Start workers that read the lists anew; the old ones are too many once these are ready.

    gunicorn's own way ends the old ones at once, and waits for that, when it hears no other signal. Its configuration
    need not be read anew: it is the environment, which cannot change.
    """
    try:
        read_lists(built_in_folder(), *([_settings.lists_dir] if _settings.lists_dir else []))
    except StartError as error:
        log.error("the lists are not read anew, and the old ones are served on", reason=str(error))
        return
    for pid in _in_state(server, LOADING) if handover.ready else ():
        os.kill(pid, signal.SIGTERM)  # what it reads is of an earlier SIGHUP
    server.num_workers = _settings.workers
    for _ in range(_settings.workers):
        server.spawn_worker()


def pre_fork(_server: Any, worker: Any) -> None:
    """Give a new worker its index among the others."""
    worker.index = handover.register()


def child_exit(server: Any, worker: Any) -> None:
    """Forget the state and the metrics' files of a worker that has ended."""
    failed = handover.unregister(worker.index)
    if failed and len(server.WORKERS) < server.num_workers:
        # Another would fail as well, again and again, and take the cores from those that answer.
        server.num_workers = len(server.WORKERS)
        log.error("a worker could not start; the others go on until SIGHUP", workers=server.num_workers)
    forget(_metrics_folder, worker.pid, _ended)
