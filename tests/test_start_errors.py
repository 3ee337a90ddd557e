"""Why the program cannot start where no hub is asked: one sentence that says what to do, a code, no crash loop."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port, noise
from tests.support import tiny_models
from tests.support.gaze_command import gaze, run, sentence

PHRASES = ("--phrase", "a red circle", "--phrase", "oil on canvas", "--json")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with each kind of weights, one that OpenVINO cannot run, and one of no use at all."""
    folder = tmp_path_factory.mktemp("models")
    tiny_models.write_clip(folder / "default")
    tiny_models.write_clip(folder / "old", weights="pytorch_model.bin", tokenizer_json=False)
    tiny_models.write_clip(folder / "sharded", weights="model.safetensors.index.json")
    tiny_models.write_siglip2(folder / "siglip2")
    tiny_models.write_text_model(folder / "text")
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture's file."""
    file = tmp_path_factory.mktemp("pictures") / "picture.png"
    noise(60, 40).save(file)
    return file


def except_for(*names: str) -> Callable[[Any, list[str]], set[str]]:
    return lambda _folder, there: set(names) & set(there)


@pytest.mark.parametrize(
    ("model", "without", "exit_code", "reason"),
    [
        ("default", ["config.json"], 65, "has no config.json"),
        ("default", ["preprocessor_config.json"], 65, "lacks preprocessor_config.json"),
        ("default", ["tokenizer.json", "vocab.json"], 65, "lacks tokenizer.json"),
        ("old", ["pytorch_model.bin"], 65, "lacks model.safetensors or pytorch_model.bin"),
        ("sharded", ["model-00002-of-00002.safetensors"], 65, "lacks model-00002-of-00002.safetensors"),
        ("text", [], 78, "of the kind 'bert'"),
    ],
)
def test_directory_that_is_not_a_whole_model(
    *, models: Path, tmp_path: Path, picture: Path, model: str, without: list[str], exit_code: int, reason: str
) -> None:
    folder = shutil.copytree(models / model, tmp_path / "model", ignore=except_for(*without))
    assert reason in sentence(gaze("look", picture, *PHRASES, GAZE_MODEL=folder), exit_code)


@pytest.mark.parametrize(
    ("model", "file", "contents", "exit_code", "reason"),
    [
        ("default", "config.json", b"{", 65, "config.json that cannot be read"),
        ("default", "config.json", b"[]", 65, "config.json that cannot be read"),
        ("default", "config.json", b"\xff", 65, "config.json that cannot be read"),
        ("default", "config.json", b"{}", 78, "of an unnamed kind"),
        ("sharded", "model.safetensors.index.json", b"{}", 65, "model.safetensors.index.json of the model is broken"),
        ("sharded", "model.safetensors.index.json", b'{"weight_map": {"a": "../b"}}', 65, "is broken"),
    ],
)
def test_directory_with_a_broken_file(
    *,
    models: Path,
    tmp_path: Path,
    picture: Path,
    model: str,
    file: str,
    contents: bytes,
    exit_code: int,
    reason: str,
) -> None:
    folder = shutil.copytree(models / model, tmp_path / "model")
    (folder / file).write_bytes(contents)
    assert reason in sentence(gaze("look", picture, *PHRASES, GAZE_MODEL=folder), exit_code)


def test_directory_with_weights_that_are_cut_short(models: Path, tmp_path: Path, picture: Path) -> None:
    folder = shutil.copytree(models / "default", tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    told = sentence(gaze("look", picture, *PHRASES, GAZE_MODEL=folder), 65)
    assert "weights of model cannot be loaded" in told
    assert str(folder) in told


@pytest.mark.parametrize(
    ("model", "environment", "reason"),
    [
        ("siglip2", {"GAZE_BACKEND": "openvino"}, "GAZE_BACKEND is openvino, which cannot run siglip2: its pictures"),
        ("default", {"GAZE_BACKEND": "openvino", "GAZE_DEVICE": "cuda"}, "on the CPU alone; set GAZE_DEVICE=cpu"),
        ("default", {"GAZE_DEVICE": "cpu", "GAZE_PRECISION": "float16"}, "GAZE_PRECISION is float16, which takes"),
    ],
)
def test_model_that_cannot_be_run_as_asked(
    *, models: Path, picture: Path, model: str, environment: dict[str, str], reason: str
) -> None:
    assert reason in sentence(gaze("look", picture, *PHRASES, GAZE_MODEL=models / model, **environment), 78)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"GAZE_FOO": "1"}, "There is no setting GAZE_FOO"),
        ({"GAZE_PORT": "x"}, "GAZE_PORT is invalid"),
        ({"GAZE_LISTS_DIR": "/no/such/folder"}, "no such folder of lists"),
    ],
)
def test_settings_that_cannot_be(environment: dict[str, str], reason: str) -> None:
    assert reason in sentence(gaze("serve", **environment), 78)


def test_broken_list_of_a_museum_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "rooms.csv").write_text("label,uri\nred room,\nblue room,nonsense\n")
    assert f"{tmp_path / 'rooms.csv'}, line 3: " in sentence(gaze("serve", GAZE_LISTS_DIR=tmp_path), 78)


def test_server_whose_model_is_gone_ends_by_itself(tmp_path: Path) -> None:
    # As if the model had been deleted between the check and the worker's start.
    command = [sys.executable, "-m", "gunicorn", "--config", "python:service.server.gunicorn_conf", "service.wsgi:app"]
    ended = run(command, HF_HOME=tmp_path, HF_HUB_OFFLINE="1", GAZE_PORT=str(free_port()))
    assert ended.returncode == 3
    assert "start failed" in ended.stdout + ended.stderr
    assert "is not in the cache" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
