"""What a process can do that was closed: compute, and say what came of it on what it had open."""

import json
import os
import platform
import subprocess
import sys

import pytest

from service.images.isolation import sandbox
from tests.conftest import REPOSITORY
from tests.support.hostile_decoder import ATTEMPTS

CLOSED = """
import json, os, sys
from tests.support.hostile_decoder import reached
from service.images.isolation import sandbox
for name in sys.argv[1].split():
    setattr(sandbox, name, lambda: False)
missing = sandbox.close_process() if sys.argv[2] == "close" else None
os.write(1, json.dumps([missing, reached()]).encode())
"""

FILES = {
    "environment",
    "environment of the parent",
    "memory of the parent",
    "any process",
    "reading a file",
    "the source",
}


def closed(without: str = "", how: str = "close") -> tuple[list[str] | None, set[str]]:
    """Return what the system lacks, and what a process could reach that was closed without some of it."""
    ended = subprocess.run(
        [sys.executable, "-c", CLOSED, without, how], cwd=REPOSITORY, stdout=subprocess.PIPE, stdin=subprocess.PIPE,
        check=True, timeout=60,
    )  # fmt: skip
    missing, reached = json.loads(ended.stdout)
    return missing, set(reached)


def test_a_process_that_is_not_closed_reaches_what_is_tried() -> None:
    _, reached = closed(how="open")
    assert {*FILES, "writing a file", "socket", "signal", "fork", "exec", "limits", "another descriptor"} <= reached


def test_a_closed_process_reaches_nothing() -> None:
    assert closed() == ([], set())


def test_each_part_holds_without_the_other() -> None:
    assert closed(without="_close_files") == (["landlock"], set())
    missing, reached = closed(without="_close_system_calls")
    assert missing == ["seccomp"]
    assert not reached & {*FILES, "writing a file", "removing a file", "exec", "unix", "memory file", "signal"}
    assert reached <= set(ATTEMPTS)


def test_without_either_there_are_limits_still() -> None:
    missing, reached = closed(without="_close_files _close_system_calls")
    assert missing == ["landlock", "seccomp"]
    assert not reached & {"reading a file", "writing a file", "socket", "memory file", "another descriptor"}


def test_another_machine_goes_without_a_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not sandbox._close_system_calls()  # in this process, which it would close


HIDDEN = """
import ctypes, os, sys, time
from service.images.isolation.sandbox import hide_process
if os.geteuid() == 0:
    os.setresuid(54_321, 54_321, 54_321)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as it was before
if sys.argv[1] == "hide":
    hide_process()
open("/proc/self/statm").read()
print("there", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["hide", "show"])
def test_a_hidden_process_shows_no_other_its_environment(how: str) -> None:
    user = 54_321 if os.geteuid() == 0 else None
    environment = {"GAZE_API_KEYS": "secret", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", HIDDEN, how]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as hidden:
        assert hidden.stdout
        assert hidden.stdout.readline() == b"there\n"
        look = ["cat", f"/proc/{hidden.pid}/environ"]
        seen = subprocess.run(look, user=user, capture_output=True, check=False)
        hidden.kill()
    assert (b"secret" in seen.stdout) is (how == "show")


def test_threads_start_in_a_closed_process_and_no_processes() -> None:
    program = """
import os, threading
from service.images.isolation.sandbox import close_process
close_process()
heard = []
thread = threading.Thread(target=lambda: heard.append(1))
thread.start()
thread.join()
try:
    os.fork()
except PermissionError:
    heard.append(2)
os.write(1, repr(heard).encode())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True, timeout=60
    )
    assert ended.stdout == b"[1, 2]"
