"""Look up known vulnerabilities of all that the images install: python -m requirements.audit [options of pip-audit].

Ends with 0 where every package was looked up and none is known to be vulnerable, with 1 where one is, and with 69
(EX_UNAVAILABLE) where the database did not answer for all of them: pip-audit alone would then report that all is well.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = tuple(Path(__file__).parent / f"{name}.txt" for name in ("packages", "torch-cpu", "torch-cuda", "build"))


def main(options: list[str]) -> int:
    """Ask, print one line for each finding and one that sums up, and return the exit code."""
    locks = [argument for lock in LOCKS for argument in ("--requirement", str(lock))]
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json"]
    asked = subprocess.run([*command, *locks, *options], capture_output=True, text=True, check=False)  # noqa: S603
    try:
        dependencies = json.loads(asked.stdout)["dependencies"]
    except ValueError:
        print((asked.stderr.strip().splitlines() or ["pip-audit said nothing."])[-1], file=sys.stderr)
        dependencies = []
    code, lines = verdict(dependencies)
    print("\n".join(lines))
    return code


def verdict(dependencies: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Return the exit code and the lines to print for what pip-audit reports of each package."""
    looked_up = [each for each in dependencies if "skip_reason" not in each]
    lines = [
        f"{each['name']} {each['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'no release'}"
        for each in looked_up
        for found in each["vulns"]
    ]
    if not looked_up:
        return os.EX_UNAVAILABLE, ["The database of vulnerabilities could not be reached: nothing was looked up."]
    if lines:
        return 1, [*lines, f"Vulnerabilities are known: {len(lines)}."]
    if missing := [each["name"] for each in dependencies if "skip_reason" in each]:
        return os.EX_UNAVAILABLE, [
            f"The database did not answer for {', '.join(missing)}; nothing is known of the rest."
        ]
    return 0, [f"No vulnerability is known of these {len(looked_up)} packages."]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
