"""The real service on the demo model, built once: in this process, and as a server on loopback."""

import atexit
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from flask.testing import FlaskClient
from PIL import Image

from service.app import create_app
from service.composition import load_classifier
from service.images.decoders import heif
from service.settings import Settings
from service.zero_shot import model_files
from service.zero_shot.classifier import LoadingClassifier, ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList, built_in_folder, read_lists

REPOSITORY = Path(__file__).parent.parent
CACHE = Path(tempfile.mkdtemp(prefix="gaze-tests-"))
"""What is costly to make is made once for all tests that do not ask for a cache of their own."""

atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
# `python -m tests.faults` runs these, in a network of their own.
collect_ignore = [] if "GAZE_FAULTS_INSIDE" in os.environ else ["faults"]

# For every process that a test starts.
os.environ["GAZE_CACHE_DIR"] = str(CACHE)

# Of the processes that run tests side by side.
_OWN_LANE = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_LANES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

_LONGEST = ("test_start", "test_heat_map", "test_cli", "test_models", "test_hub", "test_parity", "test_bulk_ray")
"""Files that take a minute and more: where several run at a time, these begin, and none of them is the last."""

LEFT_OUT = {
    "whole runs of the program": (
        *("test_start", "test_start_errors", "test_cli", "test_hub", "test_composition", "test_server_worker"),
        *("test_bulk_command", "test_bulk_local", "test_bulk_plan", "test_bulk_ray", "test_bulk_run"),
    ),
    "models of every family, made and converted": (
        *("test_models", "test_openvino_backend", "test_openvino_cache", "test_openvino_export", "test_torch_backend"),
        *("test_processors", "test_parity_check", "test_demo_model"),
    ),
    "parity on all phrases and with clip-gaze": (
        "test_parity::test_twenty_pictures_equal_clip_gaze_on_the_short_lists_and_one_on_all_artists",
        "test_parity::test_all_phrases_features_are_the_same_on_openvino_and_torch",
    ),
    "what heat maps, lift and ties are worth": ("test_heat_map", "test_lift", "test_certainty"),
    "the page in a browser, but for one pass": (
        *("test_browser_access", "test_browser_docs", "test_browser_foreign_pages", "test_browser_question"),
        "test_browser_reconcile",
    ),
    "decoders that hang, die or are taken over": ("test_decoder", "test_hostile_decoder"),
    "hosts that are slow": ("test_fetch", "test_fetch_refusals"),
    "what the documents say to type, other programs, deployment": (
        *("test_documented_commands", "test_docs", "test_generated_clients", "test_iiif_servers", "test_deploy"),
        *("test_benchmarks", "test_openapi_answers"),
    ),
}
"""What `make test` leaves out, by what it is about: files and tests, of which `make test-all` runs all."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out what takes long, and say at the end what that is")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick"):
        os.environ.setdefault("CONTRACT_EXAMPLES", "5")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_quick = config.getoption("--quick") and collection_path.parent.name == "tests"
    return (is_quick and any(collection_path.stem in names for names in LEFT_OUT.values())) or None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--quick"):
        terminalreporter.section("left out; make test-all runs it")
        for what, names in LEFT_OUT.items():
            terminalreporter.line(f"{what}: {', '.join(names)}")


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    items.sort(key=lambda item: _LONGEST.index(item.path.stem) if item.path.stem in _LONGEST else len(_LONGEST))
    if config.getoption("--quick"):
        names = {name for names in LEFT_OUT.values() for name in names}
        items[:] = [item for item in items if f"{item.path.stem}::{getattr(item, 'originalname', '')}" not in names]


@pytest.fixture
def prepared_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What gives the lines that were logged without structlog's processors, which it can capture by itself."""
    factory = structlog.get_config()["logger_factory"]
    written = io.StringIO()
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(written))
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.configure(logger_factory=factory)


@pytest.fixture(scope="session")
def phrase_lists() -> dict[str, PhraseList]:
    """The ten built-in lists."""
    return read_lists(built_in_folder())


@pytest.fixture(scope="session")
def classifier(phrase_lists: dict[str, PhraseList]) -> ZeroShotClassifier:
    """The demo model with all ten lists encoded."""
    settings = Settings(model="demo", threads=2, cache_dir=CACHE)
    return load_classifier(settings, model_files.locate("demo", None), phrase_lists)


@pytest.fixture(scope="session")
def make_client(classifier: ZeroShotClassifier, phrase_lists: dict[str, PhraseList]) -> Callable[..., FlaskClient]:
    """Make a client of the app on the demo model, ready to answer, with settings as given."""
    ready = LoadingClassifier(lambda _report: classifier).start().wait()

    def make(**settings: Any) -> FlaskClient:
        chosen = Settings(**{"model": "demo", "url_fetch": "off", **settings})
        return create_app(chosen, phrase_lists, ready, threading.Event()).test_client()

    return make


@pytest.fixture(scope="session")
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    """A client of the app on the demo model with the default settings, but for fetching, which is off."""
    return make_client()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of `gaze serve` with the demo model on loopback, ready to answer."""
    with serving(GAZE_MODEL="demo", GAZE_URL_FETCH="off") as address:
        yield address


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads take turns as often as they can, so that those that disturb each other do so in a test."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@contextmanager
def serving(**environment: str) -> Iterator[str]:
    """Run `gaze serve` on a free port of loopback with these variables, and give its address once it is ready."""
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GAZE_")}
    environment.setdefault("GAZE_CACHE_DIR", str(CACHE))
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "serve"],
        env={**inherited, "GAZE_PORT": str(port), **environment},
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(address: str, process: "subprocess.Popen[Any]", seconds: float = 180) -> None:
    """Return once /readyz answers 200; fail if the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError("the server did not become ready")


def free_port() -> int:
    """Return a TCP port of loopback that nothing listens on, and that goes to nobody else before a server takes it.

    It is none of those that the system gives to who asks for any, from 32768 on, nor one of another process's tests.
    """
    while True:
        port = random.randrange(20_000 + _OWN_LANE, 32_768, _LANES)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    """Return the image as a file's bytes."""
    if file_format == "HEIF":
        heif.register()
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Return a picture of smooth random colours, so that features differ from picture to picture."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
