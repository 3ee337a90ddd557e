"""The peers' own virtual environments: one each, made once, and again when what belongs into it has changed."""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_REQUIREMENTS = Path(__file__).parent / "peers"


class NotInstalled(Exception):
    """A peer's environment could not be made; the message is the last of what pip said."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment that is ready."""

    folder: Path

    def program(self, name: str) -> str:
        """Return the path of a program in it."""
        return str(self.folder / "bin" / name)


def install(name: str, parent: Path) -> Environment:
    """Return the environment of the peer `name`, with what peers/NAME.txt lists and the torch that Gaze has.

    TORCH_INDEX in the environment names the index that torch comes from; without it, pip's own.
    Raises NotInstalled.
    """
    environment = Environment(parent / name)
    requirements = _REQUIREMENTS / f"{name}.txt"
    torch = f"torch=={importlib.metadata.version('torch').partition('+')[0]}"
    wanted = hashlib.sha256(f"{sys.version}\n{torch}\n{requirements.read_text()}".encode()).hexdigest()
    stamp = environment.folder / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return environment
    index = os.environ.get("TORCH_INDEX", "")
    pip = [environment.program("python"), "-m", "pip", "install", "--quiet"]
    _run([sys.executable, "-m", "venv", "--clear", str(environment.folder)])
    _run([*pip, *(["--index-url", index] if index else []), torch])
    _run([*pip, torch, "--requirement", str(requirements)])
    stamp.write_text(wanted)
    return environment


def pinned(name: str) -> list[str]:
    """Return what the environment of the peer `name` is made of, as peers/NAME.txt says it."""
    lines = (_REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _run(command: list[str]) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # made here
    if finished.returncode:
        said = [line for line in finished.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise NotInstalled(" ".join(said[-3:]) or f"{command[0]} ended with exit code {finished.returncode}")
    return finished.stdout
