"""The services that are measured over HTTP: how each is started, at its best settings for this work."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.environments import Environment
from benchmarks.processes import MeasuredProcess, require_free
from benchmarks.workplace import Workplace
from service.settings import PREFIX, Settings

GAZE_PORT, SECOND_GAZE_PORT, INFINITY_PORT, THIRD_GAZE_PORT = 8391, 8392, 8393, 8394
READY_PATH, HEALTH_PATH = "/readyz", "/health"
_ENCODING_SECONDS = 3600
_REPOSITORY = Path(__file__).parent.parent


class NoSuchSetting(Exception):
    """This version of Gaze does not know a setting; the message names it."""


def start_gaze(
    workplace: Workplace, name: str, port: int = GAZE_PORT, tree: Path = _REPOSITORY, **settings: str | Path
) -> MeasuredProcess:
    """Start `gaze serve` on the reference model, with these settings, and do not wait for it.

    name: of its log; tree: whose code is run; settings: by their names in lower case, without the prefix.
    Raises NoSuchSetting, or ProcessFailed if the port is taken.
    """
    for setting in settings:
        if setting not in Settings.model_fields:
            raise NoSuchSetting(f"this Gaze has no setting {PREFIX}{setting.upper()}")
    require_free(port)
    chosen = {"model": workplace.model, "port": str(port), "device": "cpu", **_cache(workplace), **settings}
    variables = {f"{PREFIX}{setting.upper()}": value for setting, value in chosen.items()}
    # With -P the folder that this is run in, which is another tree or none, is not searched first.
    command = [sys.executable, "-P", "-m", "service.cli", "serve"]
    return MeasuredProcess(command, workplace.environment(PYTHONPATH=tree, **variables), workplace.log(name))


@contextmanager
def gaze(
    workplace: Workplace, name: str, port: int = GAZE_PORT, tree: Path = _REPOSITORY, **settings: str | Path
) -> Iterator[MeasuredProcess]:
    """Run Gaze while the block runs, and enter it once Gaze is ready. Raises NoSuchSetting or ProcessFailed."""
    with start_gaze(workplace, name, port, tree, **settings) as process:
        process.wait_until_ready(port, READY_PATH, _ENCODING_SECONDS)
        yield process


@contextmanager
def infinity(workplace: Workplace, environment: Environment) -> Iterator[MeasuredProcess]:
    """Run infinity on the reference model while the block runs. Raises ProcessFailed."""
    command = [
        *(environment.program("infinity_emb"), "v2"),
        *("--model-id", str(workplace.model), "--served-model-name", "clip"),
        *("--engine", "torch", "--device", "cpu", "--dtype", "float32"),
        *("--no-bettertransformer", "--no-compile", "--no-trust-remote-code", "--no-lengths-via-tokenize"),
        # It would else answer the same picture from a cache of its own.
        "--no-vector-disk-cache",
        *("--host", "127.0.0.1", "--port", str(INFINITY_PORT)),
    ]
    require_free(INFINITY_PORT)
    variables = workplace.environment(INFINITY_ANONYMOUS_USAGE_STATS="0")
    with MeasuredProcess(command, variables, workplace.log("infinity")) as process:
        process.wait_until_ready(INFINITY_PORT, HEALTH_PATH, 600)
        yield process


def _cache(workplace: Workplace) -> dict[str, Path]:
    return {"cache_dir": workplace.cache} if "cache_dir" in Settings.model_fields else {}
