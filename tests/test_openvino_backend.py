"""OpenVINO gives torch's features for each family that it runs, tells nobody, and keeps the weights in memory once."""

import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.zero_shot.backends import openvino_backend
from service.zero_shot.backends.openvino_backend import OpenVinoBackend, processor_has_bfloat16
from service.zero_shot.encoder import ClipEncoder
from tests.conftest import CACHE, noise
from tests.support import tiny_models
from tests.support.gaze_command import run
from tests.support.tiny_models import load_ours

LONG_PHRASE = "the river and the bridge at night " * 80
PHRASES = (
    "stone",
    "oil on canvas",
    "A Painting, of two ships!",
    LONG_PHRASE,
    *("stone " * words for words in (17, 50)),
)
MODELS = (*tiny_models.CONVERTIBLE, "demo")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | str]:
    folder = tmp_path_factory.mktemp("models")
    return {"demo": "demo", **{name: tiny_models.FAMILIES[name](folder / name) for name in tiny_models.CONVERTIBLE}}


def encoder(model: Path | str, backend: str, precision: str = "float32") -> ClipEncoder:
    loaded = load_ours(model, CACHE, backend=backend, precision=precision)
    assert (loaded.description.backend, loaded.description.precision) == (backend, precision)
    return ClipEncoder(loaded)


def image_features(encoder: ClipEncoder) -> NDArray[np.float32]:
    sizes = [(60, 40), (40, 60), (32, 32), (7, 300), (640, 480)] * 4
    return encoder.encode_images([encoder.preprocess(noise(*size, seed=seed)) for seed, size in enumerate(sizes)])


def lowest_cosine(ours: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    assert ours.shape == expected.shape
    return float((ours.astype(np.float64) * expected).sum(axis=1).min())


@pytest.mark.parametrize("model", MODELS)
def test_features_are_torchs(models: dict[str, Path | str], model: str) -> None:
    ours, expected = encoder(models[model], "openvino"), encoder(models[model], "torch")
    assert lowest_cosine(image_features(ours), image_features(expected)) >= 0.999_999
    in_openvino, in_torch = ours.encode_text(PHRASES), expected.encode_text(PHRASES)
    assert lowest_cosine(in_openvino.features, in_torch.features) >= 0.999_999
    np.testing.assert_array_equal(in_openvino.row_of, in_torch.row_of)
    assert in_openvino.cut == in_torch.cut
    assert 3 in in_openvino.cut


def test_description_differs_from_torchs_in_the_backend_alone(models: dict[str, Path | str]) -> None:
    ours, expected = vars(encoder(models["siglip"], "openvino").model), vars(encoder(models["siglip"], "torch").model)
    assert {name for name in ours if ours[name] != expected[name]} == {"backend"}


@pytest.mark.skipif(not processor_has_bfloat16(), reason="this processor has no bfloat16")
@pytest.mark.parametrize("model", ["clip", "siglip", "demo"])
def test_bfloat16_is_near_and_not_the_same(models: dict[str, Path | str], model: str) -> None:
    single, brain = encoder(models[model], "openvino"), encoder(models[model], "openvino", "bfloat16")
    texts = [each.encode_text(PHRASES).features for each in (brain, single)]
    for ours, expected in ((image_features(brain), image_features(single)), (texts[0], texts[1])):
        assert ours.dtype == np.float32
        assert lowest_cosine(ours, expected) >= 0.999
        assert np.abs(ours - expected).max() > 1e-5


@contextmanager
def listening() -> Iterator[tuple[str, list[bytes]]]:
    """Listen on a port of loopback; give its address, and what those that connect say first."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    heard.append(connection.recv(1000))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


LISTED = """
import sys
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event in WATCHED else None)
WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "os.fork")
"""
LOADED = """
from pathlib import Path
from service.zero_shot.backends import openvino_backend
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot import model_files
from service.zero_shot.cache import CacheFolder
from service.zero_shot.backends.selection import ComputeOptions, load_model
files = model_files.locate(sys.argv[1], None)
loaded = load_model(files, ComputeOptions("cpu", "openvino", "float32", 1), CacheFolder(Path(sys.argv[2])))
"""
ANSWERED = """
ClipEncoder(loaded).check_answers()
"""
THE_REST = """
import time
time.sleep(1)
import multiprocessing
assert not multiprocessing.active_children()
assert not seen, seen
"""


@pytest.mark.parametrize(
    "programs",
    [
        [LOADED + ANSWERED, LOADED + ANSWERED],  # converts, and reads what was converted
        ["import service.zero_shot.backends.openvino_export"],
        ["import service.zero_shot.backends.openvino_backend"],
    ],
    ids=["load_model", "conversion", "openvino_backend"],
)
def test_openvino_tells_nobody(tmp_path: Path, programs: list[str]) -> None:
    # It would tell Google Analytics that it is imported, from a process of its own, and leave a mark in the home.
    model = tiny_models.write_clip(tmp_path / "model")
    (tmp_path / "home").mkdir()
    with listening() as (address, heard):
        for program in programs:
            ended = run(
                [sys.executable, "-c", LISTED + program + THE_REST, str(model), str(tmp_path / "cache")],
                HOME=tmp_path / "home",
                CI="",
                HTTPS_PROXY=address,
                HTTP_PROXY=address,
            )
            assert ended.returncode == 0, ended.stderr
    assert heard == []
    assert list((tmp_path / "home").iterdir()) == []


COMPILED = """
import sys
from pathlib import Path
import numpy as np
from service.zero_shot.backends.openvino_backend import OpenVinoBackend
folder = Path(sys.argv[1])
backend = OpenVinoBackend(folder / "image_tower.xml", folder / "text_tower.xml", "float32", 1)
backend.text_features(np.full((backend.text_batch, 8), 49_407))
Path(sys.argv[2]).write_text(Path("/proc/self/smaps").read_text())
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="this system does not tell what is in memory")
def test_weights_are_not_kept_in_memory_twice(models: dict[str, Path | str], tmp_path: Path) -> None:
    load_ours(models["clip"], tmp_path / "cache")
    [folder] = (tmp_path / "cache" / "converted").iterdir()
    ended = run([sys.executable, "-c", COMPILED, str(folder), str(tmp_path / "smaps")])
    assert ended.returncode == 0, ended.stderr
    resident: dict[str, int] = {}
    file = ""
    for line in (tmp_path / "smaps").read_text().splitlines():
        first, *rest = line.split(maxsplit=5)
        if "-" in first:
            file = Path(rest[-1]).name if len(rest) == 5 else ""
        elif first == "Rss:" and file.endswith("_tower.bin"):
            resident[file] = resident.get(file, 0) + int(rest[0])
    # Of the text tower's 3 MB, what the phrase's own tokens are embedded by.
    assert resident.keys() == {"image_tower.bin", "text_tower.bin"}
    assert resident["image_tower.bin"] == 0
    assert resident["text_tower.bin"] <= 200


@pytest.mark.parametrize("in_files", [True, False])
def test_text_tower_comes_back_after_it_was_let_go_of(
    models: dict[str, Path | str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_files: bool
) -> None:
    (tmp_path / "file").touch()
    loaded = load_ours(models["clip"], CACHE if in_files else tmp_path / "file", backend="openvino")
    backend = loaded.backend
    assert isinstance(backend, OpenVinoBackend)
    encoder = ClipEncoder(loaded)
    expected = encoder.encode_text(PHRASES).features
    pictures = image_features(encoder)
    assert backend._text_tower is not None  # only a picture that comes long enough after lets go of it
    monkeypatch.setattr(openvino_backend, "KEEP_SECONDS", 0)
    np.testing.assert_array_equal(image_features(encoder), pictures)
    assert backend._text_tower is None
    monkeypatch.undo()
    np.testing.assert_array_equal(encoder.encode_text(PHRASES).features, expected)
    np.testing.assert_array_equal(encoder.encode_text(PHRASES).features, expected)
    assert backend._text_tower is not None


def test_cache_may_be_deleted_while_the_model_runs(
    models: dict[str, Path | str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_ours(models["clip"], tmp_path / "cache", backend="openvino")
    encoder = ClipEncoder(loaded)
    expected = image_features(encoder), encoder.encode_text(PHRASES).features
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(openvino_backend, "KEEP_SECONDS", 0)
    np.testing.assert_array_equal(image_features(encoder), expected[0])
    np.testing.assert_array_equal(encoder.encode_text(PHRASES).features, expected[1])


def test_folder_may_have_any_name(models: dict[str, Path | str], tmp_path: Path) -> None:
    cache = tmp_path / "Musée d'art – Zürich\n 絵"
    for _ in range(2):
        loaded = load_ours(models["clip"], cache, backend="openvino")
        np.testing.assert_array_equal(
            image_features(ClipEncoder(loaded)), image_features(encoder(models["clip"], "openvino"))
        )


def test_models_in_memory_and_in_files_give_the_same(models: dict[str, Path | str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    in_memory = load_ours(models["clip"], tmp_path / "file", backend="openvino")
    in_files = load_ours(models["clip"], CACHE, backend="openvino")
    assert isinstance(in_memory.backend, OpenVinoBackend)
    np.testing.assert_array_equal(image_features(ClipEncoder(in_memory)), image_features(ClipEncoder(in_files)))
    first, second = (ClipEncoder(loaded).encode_text(PHRASES).features for loaded in (in_memory, in_files))
    np.testing.assert_array_equal(first, second)
