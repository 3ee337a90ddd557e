"""Services on the demo model that the faults of a module share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from service.zero_shot.backends.selection import has_cuda
from tests.conftest import CACHE
from tests.support.problem_shape import MARKER
from tests.support.running_service import Service, served

# Row 33 is injected besides, on every machine.
collect_ignore = [] if has_cuda() else ["test_cuda.py"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Start `gaze serve` with these variables; it is ready, and sound when the module's tests are over."""
    with ExitStack() as services:
        yield lambda **environment: services.enter_context(_sound(tmp_path_factory.mktemp("service"), environment))


@contextmanager
def _sound(folder: Path, environment: dict[str, str]) -> Iterator[Service]:
    log = folder / "log"
    with served(CACHE, log, environment=environment) as started:
        started.wait()
        workers = started.workers()
        yield started
        assert started.workers() == workers, "a worker died"
        defects = started.lines("defect")
        assert not defects, defects
        assert MARKER not in log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def service(sound: Callable[..., Service]) -> Service:
    """A service with its default settings."""
    return sound(GAZE_URL_FETCH="public")
