"""Cores of a container's quota or the affinity, and a pool of threads on a system that gives few or none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.limits.threads import TolerantThreadPool, available_cores, lower_thread_priority
from tests.conftest import REPOSITORY

LIMITED = """
import json, os, resource, sys, threading, time
from service.limits.threads import TolerantThreadPool

limit, made_first = json.loads(sys.argv[1])

def few():
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    if os.getuid() == 0:  # whom the limit does not hold for
        os.setuid(54321)

def work(number):
    time.sleep(0.05)  # so that no thread is free again before all that there may be are there
    done.append(number)
    return threading.current_thread().name

done = []
if not made_first:
    few()
try:
    pool = TolerantThreadPool(12, "few")
except RuntimeError as error:
    print(json.dumps(str(error)))
else:
    few()
    names = [future.result(10) for future in [pool.submit(work, number) for number in range(40)]]
    print(json.dumps([sorted(done), len(set(names))]))
"""


@pytest.mark.parametrize(
    ("limit", "made_first", "threads"),
    [
        (1, True, 1),
        pytest.param(5, False, 4, marks=pytest.mark.skipif("os.getuid() != 0", reason="others of this user count")),
        (10_000, True, 12),
    ],
)
def test_all_work_is_done_once_with_the_threads_that_there_are(limit: int, made_first: bool, threads: int) -> None:
    assert printed(limit, made_first) == [list(range(40)), threads]


def test_without_any_thread_there_is_no_pool() -> None:
    assert printed(1, made_first=False) == "can't start new thread"


def test_lowered_priority_is_of_that_thread_alone() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with TolerantThreadPool(1, "less-urgent", lower_thread_priority) as threads:
        assert threads.submit(os.getpriority, os.PRIO_PROCESS, 0).result(10) == min(19, before + 10)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def printed(limit: int, made_first: bool) -> object:
    command = [sys.executable, "-c", LIMITED, json.dumps([limit, made_first])]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


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
