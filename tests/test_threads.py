"""A pool of threads, on a system that gives fewer than it may have, or none."""

import json
import os
import subprocess
import sys

import pytest

from service.limits.threads import Threads, lower_thread_priority
from tests.conftest import REPOSITORY

LIMITED = """
import json, os, resource, sys, threading, time
from service.limits.threads import Threads

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
    pool = Threads(12, "few")
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


def test_who_stands_back_is_less_urgent_and_its_starter_is_not() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with Threads(1, "less-urgent", lower_thread_priority) as threads:
        assert threads.submit(os.getpriority, os.PRIO_PROCESS, 0).result(10) == min(19, before + 10)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def printed(limit: int, made_first: bool) -> object:
    command = [sys.executable, "-c", LIMITED, json.dumps([limit, made_first])]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)
