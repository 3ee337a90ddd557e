"""The `gaze` command, run as a person would, with no settings but those that a test gives."""

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import CACHE

REPOSITORY = Path(__file__).parent.parent.parent


def gaze(*arguments: str | Path, **environment: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run `gaze` to its end, with these variables in its environment."""
    return run([sys.executable, "-m", "service.cli", *map(str, arguments)], **environment)


def run(command: Sequence[str], **environment: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end in the environment that `gaze` gets."""
    return run_in(REPOSITORY, command, **environment)


def run_in(folder: Path, command: Sequence[str], /, **environment: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end in a folder, in the environment that `gaze` gets."""
    return subprocess.run(
        command,
        env=environment_of(**environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=150,
        check=False,
    )


def by_a_number(*command: str) -> list[str]:
    """Return a command as a user runs it who is a number alone: no name, no group's rights, no home, and none set.

    It may read everything, because Python may lie in root's home, and write to /tmp alone.
    """
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("being another user needs root, and setpriv of util-linux")
    rights = "-all,+dac_read_search"
    user = ("--reuid=54321", "--regid=54321", "--clear-groups")
    limits = (f"--inh-caps={rights}", f"--ambient-caps={rights}", f"--bounding-set={rights}")
    unset = [f"--unset={name}" for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME", "GAZE_CACHE_DIR")]
    return ["env", *unset, "PYTHONDONTWRITEBYTECODE=1", "setpriv", *user, *limits, *command]


def environment_of(**environment: str | Path) -> dict[str, str]:
    """Return the variables given, with those of this process that set neither Gaze, nor the hub, nor a proxy."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GAZE_", "HF_")) and not name.lower().endswith("_proxy")
    }
    chosen = {name: str(value) for name, value in environment.items()}
    return {**inherited, "GAZE_THREADS": "1", "OMP_NUM_THREADS": "1", "GAZE_CACHE_DIR": str(CACHE), **chosen}


def sentence(ended: "subprocess.CompletedProcess[str]", exit_code: int) -> str:
    """Return the one line with which `gaze` says why it ended, and assert that it said nothing else."""
    assert ended.returncode == exit_code, ended.stderr
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("gaze: ")
    assert lines[0].endswith(".")
    return lines[0]


def on_a_terminal(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run `gaze` with a terminal for its errors, and return its exit code, what it printed and what it showed there."""
    terminal, its_end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 200, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", *arguments],
        env=environment_of(**environment),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=its_end,
    )
    os.close(its_end)
    shown = b""
    try:
        while select.select([terminal], [], [], 120)[0]:
            shown += os.read(terminal, 65536)
    except OSError:
        pass  # that is how Linux says that the other end is closed
    finally:
        os.close(terminal)
    printed, _ = process.communicate(timeout=30)
    return process.returncode, printed.decode(), shown.decode()
