"""A CUDA device whose memory another program takes; where there is no such device, conftest.py leaves this file out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.callers import answer_to, question
from tests.support import tiny_models
from tests.support.full_cuda import MIB, full_but_for
from tests.support.running_service import Service, served

Seen = Callable[[str], None]
PICTURES = 16


@contextmanager
def on_cuda(tmp_path: Path, **environment: str) -> Iterator[Service]:
    """Give a service that takes 12 MiB of the device for each picture, before it computes anything."""
    model = tiny_models.write_clip(tmp_path / "model", image_size=1024, patch_size=64)
    chosen = {"GAZE_MODEL": str(model), "GAZE_DEVICE": "cuda", **environment}
    with served(tmp_path / "cache", tmp_path / "log", environment=chosen) as service:
        yield service.wait()


def passes_without_memory(service: Service) -> list[tuple[int, int]]:
    return [(line["pictures"], line["phrases"]) for line in service.lines("too little memory for a pass")]


def probabilities(answer: dict[str, Any]) -> list[dict[str, float]]:
    return [
        {found["phrase"]: found["probability"] for found in result["lists"]["qualities"]["predictions"]}
        for result in answer["results"]
    ]


@pytest.mark.fault(33)
def test_too_little_memory_for_all_pictures(tmp_path: Path, seen: Seen) -> None:
    with on_cuda(tmp_path) as service:
        assert answer_to(service, "/v1/gaze", question())[0] == 200
        with full_but_for(48 * MIB):
            status, _, in_parts = answer_to(service, "/v1/gaze", question(PICTURES))
            assert status == 200
            assert passes_without_memory(service) == [(PICTURES, 0)]
        status, _, at_once = answer_to(service, "/v1/gaze", question(PICTURES))
        assert status == 200
        assert len(passes_without_memory(service)) == 1
        for found, expected in zip(probabilities(in_parts), probabilities(at_once), strict=True):
            assert found == pytest.approx(expected, rel=1e-2)
        assert service.lines("defect") == []
    seen(f"CUDA: {PICTURES} pictures in parts 200, next 200 at once")


@pytest.mark.fault(33)
def test_too_little_memory_for_one_picture(tmp_path: Path, seen: Seen) -> None:
    # Without a cache of torch's own, what the first picture had is free for the other program.
    with on_cuda(tmp_path, PYTORCH_NO_CUDA_MEMORY_CACHING="1") as service:
        assert answer_to(service, "/v1/gaze", question())[0] == 200
        with full_but_for(0):
            status, headers, problem = answer_to(service, "/v1/gaze", question(2))
            assert (status, problem["code"]) == (503, "overloaded")
            assert int(headers["Retry-After"]) > 0
            assert passes_without_memory(service) == [(2, 0), (1, 0)]
            assert answer_to(service, "/livez")[0] == 200
        assert answer_to(service, "/v1/gaze", question(PICTURES))[0] == 200
        assert service.lines("defect") == []
    seen("one too many 503, next 200")
