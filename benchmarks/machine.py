"""What machine this is: every figure is one of this machine, so the table names it."""

import importlib.metadata
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from service.limits.threads import available_cores

_NAMED = ("torch", "transformers", "openvino", "numpy", "pillow")
_BLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_MATRIX_UNITS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Machine:
    """A machine and the software on it.

    cores:  those that a process may really use
    memory: bytes
    units:  those of the processor's features that matter to matrix products
    busy:   the share of its processor time, 0 to 1, that went elsewhere just before anything was measured
    """

    processor: str
    units: list[str]
    busy: float
    cores: int
    memory: int
    system: str
    python: str
    versions: dict[str, str]
    blas_settings: dict[str, str]

    @classmethod
    def here(cls) -> Self:
        """Look at this machine, for two seconds."""
        about = _cpu_information()
        flags = set(about.get("flags", about.get("Features", "")).split())
        return cls(
            processor=about.get("model name", platform.processor() or platform.machine()),
            units=[unit for unit in _MATRIX_UNITS if unit in flags],
            busy=_busy(2.0),
            cores=available_cores(),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            system=f"{_distribution()}, Linux {platform.release()}",
            python=platform.python_version(),
            versions={name: version for name in _NAMED if (version := _version(name))},
            blas_settings={name: os.environ[name] for name in _BLAS if name in os.environ},
        )


def _cpu_information() -> dict[str, str]:
    """Return what /proc/cpuinfo says of the first core."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    lines = [line.partition(":") for line in first.splitlines()]
    return {name.strip(): value.strip() for name, _, value in lines}


def _busy(seconds: float) -> float:
    """Return the share of all cores' time that was not idle while this function waited."""
    idle, total = _ticks()
    time.sleep(seconds)
    idle_then, total_then = _ticks()
    return 1 - (idle_then - idle) / max(1, total_then - total)


def _ticks() -> tuple[int, int]:
    """Return how long all cores together were idle, and how long they were there, in ticks of the kernel's clock."""
    # user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in the first two already.
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
