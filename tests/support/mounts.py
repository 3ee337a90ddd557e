"""Commands that run with a file system of their own at a folder."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def on_a_disk(place: Path, options: str, *command: str) -> list[str]:
    """Run a command to its end where a small disk lies at a place, which nobody else sees; return the lines it said."""
    ended = subprocess.run(
        mounted(place, options, *command), cwd=REPOSITORY, capture_output=True, text=True, timeout=150, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def mounted(place: Path, options: str, *command: str) -> list[str]:
    """Return a command that is run where a disk in memory lies at a place; skip the test where that needs more rights.

    options: mount's, for a tmpfs
    """
    script = 'mount -t tmpfs -o "$0" gaze-test "$1" && shift && exec "$@"'
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("mounting needs root, and unshare of util-linux")
    unshared = ["unshare", "--mount", "sh", "-c", script, options, str(place)]
    if subprocess.run([*unshared, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let its root mount")
    return [*unshared, *command]
