"""Models by hub id and by directory: fetched once, checked, and refused in one sentence, against a hub on loopback."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.zero_shot.model_files import DEFAULT_MODEL, DEFAULT_REVISION
from tests.conftest import noise, serving
from tests.support import tiny_models
from tests.support.gaze_command import by_a_number, gaze, run, sentence
from tests.support.stand_in_hub import Repository, StandInHub, stand_in_hub

OLD_REVISION = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
"""The default model's revision that has no safetensors and no tokenizer.json."""

OTHER_MODEL = "museum/other"
OTHER_COMMIT = "1" * 40
LATER_COMMIT = "2" * 40
OLDER = "the model in the cache may be older than the hub's"
NOWHERE = "http://127.0.0.1:9"
"""Nobody listens on this port: it is for discarding what is sent."""

Environment = dict[str, str | Path]

CLIP_FILES = {
    "config.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
}
PHRASES = ("--phrase", "a red circle", "--phrase", "oil on canvas", "--phrase", "a river", "--json")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: the default one at two commits, others, and one of a kind that cannot be used."""
    folder = tmp_path_factory.mktemp("models")
    tiny_models.write_clip(folder / "default")
    tiny_models.write_clip(folder / "old", weights="pytorch_model.bin", tokenizer_json=False)
    tiny_models.write_clip(folder / "sharded", weights="model.safetensors.index.json", seed=1)
    tiny_models.write_text_model(folder / "text")
    (folder / "bare").mkdir()
    (folder / "bare" / "README.md").write_text("A model of another make.")
    for name in ("pytorch_model.bin", "flax_model.msgpack", "tf_model.h5", "README.md", "modeling_clip.py"):
        (folder / "default" / name).write_bytes(b"nobody needs this")
    tiny_models.add_code(folder / "sharded", trace=folder / "code-was-run")
    shutil.copytree(folder / "sharded", folder / "later")
    tiny_models.write_json(folder / "later" / "special_tokens_map.json", {})
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture's file."""
    file = tmp_path_factory.mktemp("pictures") / "picture.png"
    noise(60, 40).save(file)
    return file


@pytest.fixture
def hub(models: Path) -> Iterator[StandInHub]:
    """A hub of its own for each test, in good health."""
    with hub_of(models) as hub:
        yield hub


def hub_of(models: Path) -> AbstractContextManager[StandInHub]:
    return stand_in_hub(
        {
            DEFAULT_MODEL: Repository(
                {DEFAULT_REVISION: models / "default", OLD_REVISION: models / "old"}, {"main": OLD_REVISION}
            ),
            OTHER_MODEL: Repository(
                {OTHER_COMMIT: models / "sharded", LATER_COMMIT: models / "later"}, {"main": OTHER_COMMIT}
            ),
            "museum/text": Repository({OTHER_COMMIT: models / "text"}, {"main": OTHER_COMMIT}),
            "museum/bare": Repository({OTHER_COMMIT: models / "bare"}, {"main": OTHER_COMMIT}),
        }
    )


@dataclass(frozen=True)
class FirstStart:
    """What the first start of all, with nothing in the cache, answered, asked for and left behind."""

    home: Path
    answer: str
    requests: tuple[str, ...]
    files: frozenset[str]


@pytest.fixture(scope="module")
def first_start(models: Path, picture: Path, tmp_path_factory: pytest.TempPathFactory) -> FirstStart:
    home = tmp_path_factory.mktemp("first")
    with hub_of(models) as hub:
        ended = gaze("look", picture, *PHRASES, HF_HOME=home, HF_ENDPOINT=hub.address)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
        return FirstStart(home, ended.stdout, tuple(hub.requests), frozenset(hub.files_asked_for()))


def fetch(model: str, **environment: str | Path) -> "subprocess.CompletedProcess[str]":
    """Fetch and check a model as each command does first, and print its revision."""
    program = "import sys; from service.zero_shot.model_files import fetch; print(fetch(sys.argv[1], None).revision)"
    return run([sys.executable, "-c", program, model], **environment)


def numbers(answer: str) -> dict[str, float]:
    (one,) = json.loads(answer)
    return {found["phrase"]: found["probability"] for found in one["lists"]["phrases"]}


def test_first_start_fetches_what_it_needs_and_answers(first_start: FirstStart) -> None:
    assert sorted(numbers(first_start.answer)) == ["a red circle", "a river", "oil on canvas"]
    assert first_start.files == CLIP_FILES | {"model.safetensors", "tokenizer.json"}


def test_first_start_asks_for_the_pinned_revision_only(first_start: FirstStart) -> None:
    elsewhere = [path for path in first_start.requests if DEFAULT_REVISION not in path]
    assert len(elsewhere) == 1
    assert elsewhere[0].startswith("GET /store/")


@pytest.mark.parametrize("environment", [{"HF_HUB_OFFLINE": "1"}, {}], ids=["offline", "online"])
def test_second_start_makes_no_request_and_answers_the_same(
    first_start: FirstStart, hub: StandInHub, picture: Path, environment: dict[str, str]
) -> None:
    ended = gaze("look", picture, *PHRASES, HF_HOME=first_start.home, HF_ENDPOINT=hub.address, **environment)
    assert ended.stdout == first_start.answer
    assert hub.requests == []


def test_repository_without_safetensors(
    first_start: FirstStart, hub: StandInHub, picture: Path, tmp_path: Path
) -> None:
    ended = gaze("look", picture, *PHRASES, HF_HOME=tmp_path, HF_ENDPOINT=hub.address, GAZE_REVISION=OLD_REVISION)
    # The same weights in another file.
    assert numbers(ended.stdout) == pytest.approx(numbers(first_start.answer), abs=1e-5)
    assert hub.files_asked_for() == CLIP_FILES | {"pytorch_model.bin"}


def test_prepare_fetches_another_model_at_main(hub: StandInHub, tmp_path: Path) -> None:
    ended = gaze("prepare", HF_HOME=tmp_path, HF_ENDPOINT=hub.address, GAZE_MODEL=OTHER_MODEL)
    assert ended.stdout.startswith(f"{OTHER_MODEL} {OTHER_COMMIT} is ready")
    assert ended.stderr == ""
    assert f"GET /api/models/{OTHER_MODEL}/revision/main" in hub.requests
    assert hub.files_asked_for() == CLIP_FILES | {
        "tokenizer.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    }


def test_model_at_main_follows_the_hub_and_outlives_it(hub: StandInHub, tmp_path: Path) -> None:
    at_home: Environment = {"HF_HOME": tmp_path, "HF_ENDPOINT": hub.address}
    assert fetch(OTHER_MODEL, **at_home).stdout.strip() == OTHER_COMMIT
    hub.repositories[OTHER_MODEL].branches["main"] = LATER_COMMIT
    hub.requests.clear()
    assert fetch(OTHER_MODEL, **at_home).stdout.strip() == LATER_COMMIT
    # What did not change is not fetched again.
    assert hub.files_asked_for() == {"special_tokens_map.json"}
    for status, endpoint, reason in (
        (500, hub.address, "answered 500"),
        (503, hub.address, "answered 503"),
        (None, NOWHERE, "cannot be reached"),
    ):
        hub.status = status
        warning, revision = fetch(OTHER_MODEL, HF_HOME=tmp_path, HF_ENDPOINT=endpoint).stdout.splitlines()
        assert revision == LATER_COMMIT
        assert OLDER in warning
        assert reason in warning


def test_hub_that_refuses_is_not_outlived(hub: StandInHub, tmp_path: Path) -> None:
    at_home: Environment = {"HF_HOME": tmp_path, "HF_ENDPOINT": hub.address, "GAZE_MODEL": OTHER_MODEL}
    assert fetch(OTHER_MODEL, HF_HOME=tmp_path, HF_ENDPOINT=hub.address).stdout.strip() == OTHER_COMMIT
    hub.status = 403
    assert "(403)" in sentence(gaze("prepare", "--model-only", **at_home), 69)


def test_model_in_a_home_that_cannot_be_written_to_serves_on(hub: StandInHub, tmp_path: Path) -> None:
    at_home: Environment = {"HF_HOME": tmp_path, "HF_ENDPOINT": hub.address}
    assert fetch(OTHER_MODEL, **at_home).stdout.strip() == OTHER_COMMIT
    hub.repositories[OTHER_MODEL].branches["main"] = LATER_COMMIT
    before = sorted(tmp_path.rglob("*"))
    reader = by_a_number(sys.executable, "-m", "service.cli", "prepare", "--model-only")
    ended = run(reader, GAZE_MODEL=OTHER_MODEL, **at_home)
    assert (ended.returncode, ended.stdout) == (0, f"{OTHER_MODEL} {OTHER_COMMIT} is on this machine.\n"), ended.stderr
    [line] = ended.stderr.splitlines()
    warning = json.loads(line)
    assert (warning["event"], warning["level"], warning["revision"]) == (OLDER, "warning", OTHER_COMMIT)
    assert "cannot be written to" in warning["reason"]
    assert sorted(tmp_path.rglob("*")) == before


def test_home_that_cannot_be_written_to_and_holds_nothing(hub: StandInHub, tmp_path: Path) -> None:
    reader = by_a_number(sys.executable, "-m", "service.cli", "prepare", "--model-only")
    told = sentence(run(reader, GAZE_MODEL=OTHER_MODEL, HF_HOME=tmp_path, HF_ENDPOINT=hub.address), 69)
    assert "cannot be written to" in told


def test_user_without_a_home_is_asked_for_a_place_for_models(hub: StandInHub) -> None:
    reader = by_a_number(sys.executable, "-m", "service.cli", "prepare", "--model-only")
    told = sentence(run(reader, GAZE_MODEL=OTHER_MODEL, HF_ENDPOINT=hub.address), 69)
    assert "no home to keep museum/other in; set HF_HOME" in told
    assert hub.requests == []


def test_server_fetches_and_answers(hub: StandInHub, tmp_path: Path, picture: Path) -> None:
    body = {
        "image": {"base64": base64.b64encode(picture.read_bytes()).decode()},
        "phrases": {"own": ["a red circle", "oil on canvas"]},
    }
    own = {
        "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": hub.address,
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    with serving(**own, GAZE_THREADS="1", OMP_NUM_THREADS="1") as address:
        request = urllib.request.Request(
            f"{address}/v1/gaze", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
    assert answer["model"]["id"] == DEFAULT_MODEL
    assert answer["model"]["revision"] == DEFAULT_REVISION
    predictions = answer["results"][0]["lists"]["own"]["predictions"]
    assert sum(found["probability"] for found in predictions) == pytest.approx(1)
    # The check before the start fetched all; the worker asked for nothing more.
    assert len(hub.requests) == len(set(hub.requests))


def test_directory_is_loaded_without_a_request_and_without_its_code(
    models: Path, hub: StandInHub, picture: Path, tmp_path: Path
) -> None:
    ended = gaze(
        "look", picture, *PHRASES, GAZE_MODEL=models / "sharded", HF_HOME=tmp_path / "home", HF_ENDPOINT=hub.address
    )
    assert sum(numbers(ended.stdout).values()) == pytest.approx(1)
    assert hub.requests == []
    assert not (models / "code-was-run").exists()


def in_good_health(_hub: StandInHub) -> None:
    pass


def gated(hub: StandInHub) -> None:
    hub.repositories[DEFAULT_MODEL].gated = True


def answering(status: int) -> Callable[[StandInHub], None]:
    def arrange(hub: StandInHub) -> None:
        hub.status = status

    return arrange


def with_corrupt(name: str) -> Callable[[StandInHub], None]:
    return lambda hub: hub.corrupt.add(name)


@pytest.mark.parametrize(
    ("arrange", "environment", "exit_code", "reason", "remedy"),
    [
        (in_good_health, {"GAZE_MODEL": "no/such"}, 69, "The hub has no model no/such", "correct GAZE_MODEL"),
        (in_good_health, {"GAZE_REVISION": "v9"}, 69, "has no revision v9", "correct GAZE_REVISION"),
        (gated, {}, 69, "asks for its licence to be accepted", "set HF_TOKEN"),
        (answering(403), {}, 69, "refuses openai/clip-vit-base-patch32 (403)", "set HF_TOKEN"),
        (answering(500), {}, 69, "answered 500", "try again later"),
        (answering(200), {}, 69, "cannot be understood", "check HF_ENDPOINT"),
        (in_good_health, {"HF_ENDPOINT": NOWHERE}, 69, "cannot be reached", "check the network"),
        (in_good_health, {"HF_ENDPOINT": "nothing"}, 69, "The hub (nothing)", "check"),
        (in_good_health, {"HF_HUB_OFFLINE": "1"}, 69, "is not in the cache", "run 'gaze prepare'"),
        (in_good_health, {"GAZE_MODEL": "museum/text"}, 78, "of the kind 'bert'", "set GAZE_MODEL"),
        (in_good_health, {"GAZE_MODEL": "museum/bare"}, 78, "has no config.json", "set GAZE_MODEL"),
        (with_corrupt("model.safetensors"), {}, 65, "model.safetensors of the model", "delete"),
        (with_corrupt("merges.txt"), {}, 65, "merges.txt of the model", "delete"),
        (with_corrupt("config.json"), {}, 65, "config.json that cannot be read", "delete"),
        (in_good_health, {"GAZE_MODEL": "bad id!!"}, 78, "neither a hub id", "such as openai/clip"),
        (in_good_health, {"GAZE_MODEL": "a" * 300}, 78, "neither a hub id", "such as openai/clip"),
        (in_good_health, {"GAZE_MODEL": "/no/such/folder"}, 69, "there is none", "correct the path"),
    ],
)
def test_model_that_cannot_be_had_is_told_in_one_sentence(
    *,
    hub: StandInHub,
    tmp_path: Path,
    picture: Path,
    arrange: Callable[[StandInHub], None],
    environment: dict[str, str],
    exit_code: int,
    reason: str,
    remedy: str,
) -> None:
    arrange(hub)
    chosen: Environment = {"HF_HOME": tmp_path, "HF_ENDPOINT": hub.address, **environment}
    ended = gaze("look", picture, *PHRASES, **chosen)
    told = sentence(ended, exit_code)
    assert reason in told
    assert remedy in told


def test_repository_that_lacks_a_tokenizer(models: Path, hub: StandInHub, tmp_path: Path, picture: Path) -> None:
    without = shutil.copytree(models / "default", tmp_path / "model")
    (without / "tokenizer.json").unlink()
    (without / "vocab.json").unlink()
    hub.repositories["museum/without"] = Repository({OTHER_COMMIT: without}, {"main": OTHER_COMMIT})
    environment: Environment = {
        "HF_HOME": tmp_path / "home",
        "HF_ENDPOINT": hub.address,
        "GAZE_MODEL": "museum/without",
    }
    told = sentence(gaze("look", picture, *PHRASES, **environment), 78)
    assert "lacks weights" in told
    assert "model.safetensors" not in hub.files_asked_for()


def test_cache_that_cannot_be_written(hub: StandInHub, tmp_path: Path, picture: Path) -> None:
    (tmp_path / "file").touch()
    ended = gaze("look", picture, *PHRASES, HF_HOME=tmp_path / "file" / "home", HF_ENDPOINT=hub.address)
    assert "cannot be written to" in sentence(ended, 69)


def test_download_that_is_cut_off_is_told_and_the_next_start_completes_it(hub: StandInHub, tmp_path: Path) -> None:
    environment: Environment = {"HF_HOME": tmp_path, "HF_ENDPOINT": hub.address}
    hub.cut["model.safetensors"] = 100_000
    began = time.monotonic()
    told = sentence(gaze("serve", **environment), 69)
    assert time.monotonic() - began < 60
    assert "was cut off; start again" in told
    hub.cut.clear()
    hub.requests.clear()
    assert fetch(DEFAULT_MODEL, **environment).stdout.strip() == DEFAULT_REVISION
    assert hub.files_asked_for() == {"model.safetensors"}


def test_file_that_goes_bad_in_the_cache_is_found_and_what_is_told_mends_it(
    first_start: FirstStart, hub: StandInHub, tmp_path: Path
) -> None:
    home = shutil.copytree(first_start.home, tmp_path / "home", symlinks=True)
    (weights,) = home.glob("hub/models--*/snapshots/*/model.safetensors")
    blob = weights.resolve()
    contents = bytearray(blob.read_bytes())
    contents[-1] ^= 1
    blob.write_bytes(contents)
    environment: Environment = {"HF_HOME": home, "HF_ENDPOINT": hub.address}
    told = sentence(gaze("serve", **environment), 65)
    assert f"delete {blob} and start again" in told
    blob.unlink()
    assert "lacks model.safetensors" in sentence(gaze("serve", **environment, HF_HUB_OFFLINE="1"), 65)
    assert fetch(DEFAULT_MODEL, **environment).stdout.strip() == DEFAULT_REVISION
    assert hub.files_asked_for() == {"model.safetensors"}


def test_weights_in_the_store_that_models_share_are_sound(first_start: FirstStart, tmp_path: Path) -> None:
    # The client keeps what it fetched from the hub's newer store under that store's hash, which is no SHA-256.
    home = shutil.copytree(first_start.home, tmp_path / "home", symlinks=True)
    (weights,) = home.glob("hub/models--*/snapshots/*/model.safetensors")
    blob = weights.resolve()
    shared = home / "hub" / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    assert fetch(DEFAULT_MODEL, HF_HOME=home, HF_HUB_OFFLINE="1").stdout.strip() == DEFAULT_REVISION
    shared.write_bytes(b"something else")
    assert f"delete {shared} and" in sentence(gaze("serve", HF_HOME=home, HF_HUB_OFFLINE="1"), 65)


def test_tokenizer_of_the_demo_model_is_the_hubs_own() -> None:
    vocabulary = json.loads((tiny_models.CLIP_TOKENIZER / "vocab.json").read_text(encoding="utf-8"))
    compact = json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")).encode()
    merges = (tiny_models.CLIP_TOKENIZER / "merges.txt").read_bytes()
    assert hashlib.sha256(compact).hexdigest() == "5047b556ce86ccaf6aa22b3ffccfc52d391ea4accdab9c2f2407da5b742d4363"
    assert hashlib.sha256(merges).hexdigest() == "f526393189112391ce6f9795d4695f704121ce452c3aad1f5335cc41337eba85"
