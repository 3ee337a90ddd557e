"""The cores of a container's quota, cgroup v1 and v2, or of the process's affinity."""

import os
from pathlib import Path

import pytest

from service.limits.cores import available_cores

AFFINITY = len(os.sched_getaffinity(0))


def written(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, contents in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return folder


def v1(quota: str, period: str) -> dict[str, str | bytes]:
    return {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": period}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        # Part of a core, or a core and a part, is given as many threads as can run at once.
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "1000 1000000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "0 100000\n"}, 1),
        (v1("100000\n", "100000\n"), 1),
        (v1("25000\n", "100000\n"), 1),
        (v1("110000\n", "100000\n"), 2),
    ],
)
def test_a_quota_is_rounded_up(tmp_path: Path, files: dict[str, str | bytes], cores: int) -> None:
    assert available_cores(written(tmp_path, files)) == min(cores, AFFINITY)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000\n"},
        {"cpu.max": "999900000 100000\n"},
        v1("-1\n", "100000\n"),
        v1("999900000\n", "100000\n"),
        {"cpu.max": ""},
        {"cpu.max": "100000"},
        {"cpu.max": "100000 0"},
        {"cpu.max": "100000 100000 100000"},
        {"cpu.max": "many 100000"},
        {"cpu.max": b"\xff\xfe"},
        {"cpu.max/is a folder": ""},
        {"cpu/cpu.cfs_quota_us": "100000"},
        v1("", "100000"),
        v1("100000", "0"),
    ],
)
def test_without_a_quota_that_can_be_read_the_affinity_counts(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    assert available_cores(written(tmp_path, files)) == AFFINITY


def test_version_2_counts_where_both_are_there(tmp_path: Path) -> None:
    both = {"cpu.max": "max 100000", **v1("100000", "100000")}
    assert available_cores(written(tmp_path, both)) == AFFINITY


def test_no_folder_at_all(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "missing") == AFFINITY


def test_affinity_limits(tmp_path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert available_cores(written(tmp_path, {"cpu.max": "800000 100000"})) == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_this_machine() -> None:
    assert 1 <= available_cores() <= AFFINITY
