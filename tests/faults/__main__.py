"""Bring about every fault of the table and print one line for each.

    python -m tests.faults [--quick | --timed] [options of pytest]

--quick leaves out the rows that take minutes, --timed takes these alone. All of it runs in a network and a mount
namespace of its own, where every address is this machine: nothing that a test sends can leave it. Where there can be
none, it says so and ends with 77, which is not a success.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pyroute2 import IPRoute

_INSIDE = "GAZE_FAULTS_INSIDE"
_LOCAL_TABLE, _HOST_SCOPE = 255, 254  # as rtnetlink(7) numbers them
NO_NAMESPACE = 77
NAMESERVER = "127.0.0.53"
"""What /etc/resolv.conf names in the namespace; a test that needs answers listens there, on port 53."""


def main(arguments: list[str]) -> int:
    """Enter the namespaces, and run the tests there; return pytest's exit code."""
    if _INSIDE not in os.environ:
        unshare = ["unshare", "--net", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
            print("The faults were not run: this machine gives no process a network of its own.", file=sys.stderr)
            return NO_NAMESPACE
        command = [*unshare, sys.executable, "-m", "tests.faults", *arguments]
        return subprocess.run(command, env={**os.environ, _INSIDE: "1"}, check=False).returncode
    _make_every_address_local()
    with tempfile.TemporaryDirectory(prefix="gaze-faults-") as folder:
        _take_nameserver(Path(folder) / "resolv.conf")
        selected = {"--quick": ["-m", "not timed"], "--timed": ["-m", "timed"]}
        options = [option for argument in arguments for option in selected.get(argument, [argument])]
        return int(pytest.main([str(Path(__file__).parent), "-p", "tests.faults.table", *options]))


def _make_every_address_local() -> None:
    with IPRoute() as network:
        [loopback] = network.link_lookup(ifname="lo")
        network.link("set", index=loopback, state="up")
        for every in ("0.0.0.0/0", "::/0"):
            network.route("add", dst=every, oif=loopback, table=_LOCAL_TABLE, type="local", scope=_HOST_SCOPE)


def _take_nameserver(resolv_conf: Path) -> None:
    resolv_conf.write_text(f"nameserver {NAMESERVER}\noptions timeout:30 attempts:1\n", encoding="ascii")
    subprocess.run(["mount", "--bind", str(resolv_conf), "/etc/resolv.conf"], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
