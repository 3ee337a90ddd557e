"""A service on the demo model that the faults of a module share."""

from collections.abc import Iterator

import pytest

from tests.conftest import CACHE
from tests.running_service import Service, served


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`gaze serve` with its default settings, ready to answer, and alive at the end."""
    with served(CACHE, tmp_path_factory.mktemp("service") / "log", environment={"GAZE_URL_FETCH": "public"}) as started:
        started.wait()
        workers = started.workers()
        yield started
        assert started.workers() == workers, "a worker died"
        defects = started.lines("defect")
        assert not defects, defects
