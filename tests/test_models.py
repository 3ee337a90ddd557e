"""load_model: the fastest backend that is exact here, or the one asked for; what was converted is found again."""

import json
import math
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from structlog.testing import capture_logs

from service.errors import CorruptModel, InvalidSettings
from service.zero_shot import model_files
from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.backends.openvino_backend import processor_has_bfloat16
from service.zero_shot.backends.selection import ComputeOptions, load_model
from service.zero_shot.cache import CacheFolder
from service.zero_shot.encoder import ClipEncoder
from tests.conftest import CACHE, noise
from tests.support import tiny_models
from tests.support.gaze_command import run
from tests.support.tiny_models import change_weights, load_ours

PHRASES = ("stone", "a red circle", "the river and the bridge at night " * 80, "stone " * 30)
needs_bfloat16 = pytest.mark.skipif(not processor_has_bfloat16(), reason="this processor has no bfloat16")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("clip", "siglip", "siglip 2, fixed size", "siglip 2"):
        tiny_models.FAMILIES[name](folder / name)
    return folder


def load(
    folder: Path, cache: Path, *, device: str = "cpu", backend: str = "auto", precision: str = "auto"
) -> tuple[ClipEncoder, list[str]]:
    """Load a model; return it, and the events that the log tells."""
    with capture_logs() as logs:
        loaded = load_ours(folder, cache, device=device, backend=backend, precision=precision)
    return ClipEncoder(loaded), [line["event"] for line in logs]


def how(model: ModelDescription) -> tuple[str, str, str]:
    return model.backend, model.precision, model.device


def features(encoder: ClipEncoder) -> NDArray[np.float32]:
    """Return the features of some pictures and phrases."""
    images = encoder.encode_images([encoder.preprocess(noise(60, 40, seed=seed)) for seed in range(9)])
    return np.concatenate([images, encoder.encode_text(PHRASES).features])


@pytest.mark.parametrize(
    ("family", "backend", "precision", "expected"),
    [
        ("clip", "auto", "auto", ("openvino", "float32", "cpu")),
        ("clip", "auto", "float32", ("openvino", "float32", "cpu")),
        ("clip", "openvino", "auto", ("openvino", "float32", "cpu")),
        ("clip", "torch", "auto", ("torch", "float32", "cpu")),
        ("siglip 2", "auto", "auto", ("torch", "float32", "cpu")),
        pytest.param("clip", "torch", "bfloat16", ("torch", "bfloat16", "cpu"), marks=needs_bfloat16),
        pytest.param("siglip 2", "auto", "bfloat16", ("torch", "bfloat16", "cpu"), marks=needs_bfloat16),
        pytest.param("clip", "auto", "bfloat16", ("openvino", "bfloat16", "cpu"), marks=needs_bfloat16),
        pytest.param("clip", "openvino", "bfloat16", ("openvino", "bfloat16", "cpu"), marks=needs_bfloat16),
    ],
)
def test_description_says_what_runs_the_model(
    *, models: Path, family: str, backend: str, precision: str, expected: tuple[str, str, str]
) -> None:
    encoder, _ = load(models / family, CACHE, backend=backend, precision=precision)
    assert how(encoder.model) == expected


@needs_cuda
@pytest.mark.parametrize(("precision", "expected"), [("auto", "float16"), ("float32", "float32")])
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_cuda_device_is_used_where_there_is_one(
    models: Path, tmp_path: Path, device: str, precision: str, expected: str
) -> None:
    encoder, events = load(models / "clip", tmp_path, device=device, precision=precision)
    assert how(encoder.model) == ("torch", expected, "cuda")
    assert events == []
    on_cpu, _ = load(models / "clip", tmp_path, backend="torch")
    assert (features(encoder) * features(on_cpu)).sum(axis=1).min() >= 0.9999


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_the_cpu_is_used_where_there_is_nothing_else(models: Path) -> None:
    assert how(load(models / "clip", CACHE, device="auto")[0].model) == ("openvino", "float32", "cpu")


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip 2, fixed size"])
def test_second_start_finds_what_the_first_converted(models: Path, tmp_path: Path, family: str) -> None:
    first, told_first = load(models / family, tmp_path)
    second, told_second = load(models / family, tmp_path)
    assert (told_first, told_second) == (["model converted"], [])
    assert first.model == second.model
    np.testing.assert_array_equal(features(first), features(second))
    cut = first.encode_text(PHRASES).cut
    assert 2 in cut
    assert second.encode_text(PHRASES).cut == cut


def test_another_model_is_not_mistaken_for_it(models: Path, tmp_path: Path) -> None:
    load(models / "clip", tmp_path / "cache")
    folder = tiny_models.write_clip(tmp_path / "clip", seed=1)
    other, events = load(folder, tmp_path / "cache")
    assert events == ["model converted"]
    expected, _ = load(folder, tmp_path / "cache", backend="torch")
    np.testing.assert_allclose(features(other), features(expected), atol=1e-5)


def test_another_processor_of_the_same_weights_is_not_mistaken_for_it(models: Path, tmp_path: Path) -> None:
    usual, _ = load(models / "clip", tmp_path / "cache")
    folder = shutil.copytree(models / "clip", tmp_path / "clip")
    contents = json.loads((folder / "preprocessor_config.json").read_text())
    tiny_models.write_json(folder / "preprocessor_config.json", {**contents, "image_mean": [0.1, 0.2, 0.3]})
    other, _ = load(folder, tmp_path / "cache")
    expected, _ = load(folder, tmp_path / "cache", backend="torch")
    np.testing.assert_allclose(features(other), features(expected), atol=1e-5)
    assert np.abs(features(other) - features(usual)).max() > 1e-3


WITHOUT_TORCH = """
import sys
from pathlib import Path
from PIL import Image
from service.zero_shot import model_files
from service.zero_shot.cache import CacheFolder
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.backends.selection import ComputeOptions, load_model
from service.zero_shot.backends.openvino_backend import processor_has_bfloat16
files = model_files.locate(sys.argv[1], None)
loaded = load_model(files, ComputeOptions("cpu", "auto", "auto", 1), CacheFolder(Path(sys.argv[2])))
encoder = ClipEncoder(loaded)
encoder.encode_images([encoder.preprocess(Image.new("RGB", (60, 40), "red"))])
encoder.encode_text(["a red circle", "stone " * 100])
print(*sorted({"torch", "transformers", "tokenizers", "openvino"} & set(sys.modules)))
"""


@pytest.mark.parametrize("family", ["clip", "siglip 2, fixed size"])
def test_converted_model_runs_without_torch_and_transformers(models: Path, tmp_path: Path, family: str) -> None:
    load(models / family, tmp_path)
    ended = run([sys.executable, "-c", WITHOUT_TORCH, str(models / family), str(tmp_path)])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["openvino", "tokenizers"]


def test_verdict_on_a_model_is_kept(models: Path, tmp_path: Path) -> None:
    for _ in range(2):
        encoder, events = load(models / "siglip 2", tmp_path)
        assert encoder.model.backend == "torch"
        assert events == ["torch runs the model"]
    [verdict] = (tmp_path / "converted").glob("*/*")
    assert json.loads(verdict.read_text())["unsuitable"] == "its pictures are prepared in a way of their own"


VERDICT = """
import sys
from pathlib import Path
from service.errors import InvalidSettings
from service.zero_shot import model_files
from service.zero_shot.cache import CacheFolder
from service.zero_shot.backends.selection import ComputeOptions, load_model
from service.zero_shot.backends.openvino_backend import processor_has_bfloat16
files, cache = model_files.locate(sys.argv[1], None), CacheFolder(Path(sys.argv[2]))
try:
    load_model(files, ComputeOptions("cpu", "openvino", "auto", 1), cache)
except InvalidSettings as error:
    print(error)
assert "torch" not in sys.modules
"""


def test_verdict_that_was_kept_is_told_without_loading_the_model(models: Path, tmp_path: Path) -> None:
    load(models / "siglip 2", tmp_path)
    ended = run([sys.executable, "-c", VERDICT, str(models / "siglip 2"), str(tmp_path)])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("GAZE_BACKEND is openvino, which cannot run siglip 2: its pictures are")


@pytest.mark.parametrize(
    ("family", "device", "reason"),
    [
        ("clip", "cuda", "which runs on the CPU alone; set GAZE_DEVICE=cpu"),
        ("siglip 2", "cpu", "which cannot run siglip 2: its pictures are prepared in a way of their own"),
        ("siglip 2", "auto", "which cannot run siglip 2: its pictures are prepared in a way of their own"),
    ],
)
def test_openvino_that_cannot_be_had_is_told(models: Path, family: str, device: str, reason: str) -> None:
    with pytest.raises(InvalidSettings, match=f"GAZE_BACKEND is openvino, {reason}") as told:
        load(models / family, CACHE, device=device, backend="openvino")
    assert "\n" not in str(told.value)


@pytest.mark.skipif(processor_has_bfloat16(), reason="this processor has bfloat16")
@pytest.mark.parametrize("backend", ["auto", "openvino", "torch"])
def test_bfloat16_that_the_processor_does_not_have_is_refused(models: Path, backend: str) -> None:
    with pytest.raises(InvalidSettings, match="which this processor does not have; say float32"):
        load(models / "clip", CACHE, backend=backend, precision="bfloat16")


@pytest.mark.parametrize("backend", ["auto", "openvino", "torch"])
def test_float16_on_the_cpu_is_refused(models: Path, backend: str) -> None:
    with pytest.raises(InvalidSettings, match="GAZE_PRECISION is float16, which takes a CUDA device"):
        load(models / "clip", CACHE, backend=backend, precision="float16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_cuda_that_is_not_there_is_refused(models: Path, backend: str) -> None:
    with pytest.raises(InvalidSettings, match="GAZE_DEVICE is cuda, and torch finds no CUDA device"):
        load(models / "clip", CACHE, device="cuda", backend=backend)


@needs_bfloat16
def test_one_conversion_serves_every_precision(models: Path, tmp_path: Path) -> None:
    brain, first = load(models / "clip", tmp_path, precision="bfloat16")
    single, second = load(models / "clip", tmp_path, precision="float32")
    assert (first, second) == (["model converted"], [])
    assert (brain.model.precision, single.model.precision) == ("bfloat16", "float32")
    difference = np.abs(features(brain) - features(single)).max()
    assert difference > 1e-5
    expected, _ = load(models / "clip", tmp_path, backend="torch")
    np.testing.assert_allclose(features(single), features(expected), atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=needs_bfloat16)])
def test_cache_that_cannot_be_written_to_costs_the_conversion_alone(
    models: Path, tmp_path: Path, precision: str
) -> None:
    (tmp_path / "file").touch()
    encoder, events = load(models / "clip", tmp_path / "file" / "cache", precision=precision)
    assert how(encoder.model) == ("openvino", precision, "cpu")
    assert "the cache cannot be written to" in events
    expected, _ = load(models / "clip", CACHE, precision=precision)
    np.testing.assert_array_equal(features(encoder), features(expected))


FULL = """
import resource, sys
from pathlib import Path
from service.zero_shot import model_files
from service.zero_shot.cache import CacheFolder
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.backends.selection import ComputeOptions, load_model
from service.zero_shot.backends.openvino_backend import processor_has_bfloat16
files, cache = model_files.locate(sys.argv[1], None), CacheFolder(Path(sys.argv[2]))
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), most))  # a larger file is refused, as by a full disk
loaded = load_model(files, ComputeOptions("cpu", "auto", "auto", 1), cache)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
ClipEncoder(loaded).check_answers()
print(loaded.description.backend)
"""


@pytest.mark.parametrize("room", [100, 1_000_000])
def test_disk_that_is_full_costs_the_conversion_alone(models: Path, tmp_path: Path, room: int) -> None:
    ended = run([sys.executable, "-c", FULL, str(models / "clip"), str(tmp_path / "cache"), str(room)])
    assert ended.returncode == 0, ended.stderr
    assert "the cache cannot be written to" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "openvino"
    # Nothing is left that a later start could take for a model.
    assert list((tmp_path / "cache" / "converted").iterdir()) == []
    _, events = load(models / "clip", tmp_path / "cache")
    assert events == ["model converted"]


def test_one_converts_while_others_wait(models: Path, tmp_path: Path) -> None:
    files = model_files.locate(str(models / "clip"), None)
    waited: list[int] = []
    all_ready = threading.Barrier(3)

    def load_at_once(number: int) -> ClipEncoder:
        all_ready.wait()
        computing = ComputeOptions("cpu", "auto", "auto", 1)
        return ClipEncoder(load_model(files, computing, CacheFolder(tmp_path), lambda: waited.append(number)))

    with capture_logs() as logs, ThreadPoolExecutor(3) as pool:
        encoders = list(pool.map(load_at_once, range(3)))
    assert [line["event"] for line in logs] == ["model converted"]
    assert len(set(waited)) == len(waited) == 2
    for encoder in encoders[1:]:
        np.testing.assert_array_equal(features(encoder), features(encoders[0]))


def without_numbers(folder: Path) -> None:
    change_weights(folder, lambda weights: weights["visual_projection.weight"].fill_(math.nan))


def with_zeros_alone(folder: Path) -> None:
    change_weights(folder, lambda weights: [tensor.zero_() for tensor in weights.values()])


def with_pictures_of_another_size(folder: Path) -> None:
    contents = json.loads((folder / "preprocessor_config.json").read_text())
    tiny_models.write_json(folder / "preprocessor_config.json", {**contents, "crop_size": 48, "size": 48})


def with_tokens_that_are_too_many(folder: Path) -> None:
    contents = json.loads((folder / "tokenizer_config.json").read_text())
    tiny_models.write_json(folder / "tokenizer_config.json", {**contents, "model_max_length": 77})
    contents = json.loads((folder / "config.json").read_text())
    contents["text_config"]["max_position_embeddings"] = 40
    tiny_models.write_json(folder / "config.json", contents)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without_numbers, "its weights are broken"),
        (with_zeros_alone, "its weights are broken"),
        (with_pictures_of_another_size, "do not fit together"),
        (with_tokens_that_are_too_many, "not whole|cannot be loaded"),
    ],
)
@pytest.mark.parametrize("backend", ["auto", "openvino", "torch"])
def test_model_that_cannot_answer_is_refused_and_not_kept(
    models: Path, tmp_path: Path, spoil: Callable[[Path], None], reason: str, backend: str
) -> None:
    folder = shutil.copytree(models / "clip", tmp_path / "model")
    spoil(folder)
    for _ in range(2):
        with pytest.raises(CorruptModel, match=reason) as told:
            load(folder, tmp_path / "cache", backend=backend)[0].check_answers()
        assert "\n" not in str(told.value)
    assert list((tmp_path / "cache").glob("converted/*")) == []
