"""The parts that the server and the command line share: lists from the settings, and a classifier on them."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from service.composition import cache_of, load_classifier, served_lists
from service.errors import InvalidList
from service.settings import Settings
from service.zero_shot import model_files
from service.zero_shot.phrase_lists import own_list
from tests.conftest import CACHE
from tests.support.gaze_command import by_a_number, run
from tests.support.rankings import rank_list

NO_CACHE = "this user has no cache; set GAZE_CACHE_DIR to a folder that lasts"


def test_a_museums_lists_follow_the_built_in_ones(tmp_path: Path) -> None:
    (tmp_path / "rooms.txt").write_text("hall\nattic\n")
    built_in = served_lists(Settings(model="demo"))
    both = served_lists(Settings(model="demo", lists_dir=tmp_path))
    assert list(both) == [*built_in, "rooms"]
    assert both["rooms"].labels == ("hall", "attic")


def test_a_museums_list_may_not_take_a_built_in_name(tmp_path: Path) -> None:
    (tmp_path / "movements.txt").write_text("ours\n")
    with pytest.raises(InvalidList, match=r"movements.txt, line 1: .*taken"):
        served_lists(Settings(model="demo", lists_dir=tmp_path))


def test_a_museums_list_is_encoded_and_ranked(tmp_path: Path) -> None:
    (tmp_path / "colours.csv").write_text("label,uri\nred,http://vocab.getty.edu/aat/300126225\nblue,\n")
    settings = Settings(model="demo", lists_dir=tmp_path, threads=1, cache_dir=CACHE)
    ours = {"colours": served_lists(settings)["colours"]}
    heard: list[tuple[int, int]] = []
    classifier = load_classifier(
        settings, model_files.locate("demo", None), ours, lambda done, total: heard.append((done, total))
    )
    [encoded] = classifier.lists_named(["colours"])
    ranked = rank_list(classifier, classifier.encode_image(Image.new("RGB", (64, 64), "red")), encoded, None)
    assert {prediction.uri for prediction in ranked} == {"http://vocab.getty.edu/aat/300126225", None}
    assert sum(prediction.probability for prediction in ranked) == pytest.approx(1)
    assert heard[-1] == (2, 2)


def test_second_start_finds_the_model_and_the_lists_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = Settings(model="demo", device="cpu", threads=1)
    lists = {"colours": own_list("colours", ("red", "blue", "a grey stone"), "{}")}
    told: list[list[str]] = []
    features = []
    for _ in range(2):
        with capture_logs() as logs:
            classifier = load_classifier(settings, model_files.locate("demo", None), lists)
        told.append([line["event"] for line in logs])
        [encoded] = classifier.lists_named(["colours"])
        features.append(encoded.text_features.features)
    assert told == [["model converted", "text features encoded"], ["text features read"]]
    np.testing.assert_array_equal(features[0], features[1])
    assert sorted(folder.name for folder in (tmp_path / "gaze").iterdir()) == ["converted", "locks", "text-features"]


def nameless(*arguments: str, **environment: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run `gaze` on the demo model as a user who is a number alone."""
    command = by_a_number(sys.executable, "-m", "service.cli", *arguments)
    return run(command, GAZE_MODEL="demo", **environment)


def assert_warned_once(line: str) -> None:
    warning = json.loads(line)
    assert (warning["level"], warning["event"]) == ("warning", NO_CACHE)
    assert warning["folder"].startswith(f"{tempfile.gettempdir()}/gaze-cache-")
    assert not Path(warning["folder"]).exists()  # it went with its process


def test_user_without_a_name_and_a_home_looks_at_a_picture() -> None:
    ended = nameless("look", "examples/red-circle-on-blue.png", "--phrase", "a red circle", "--phrase", "a blue square")
    assert ended.returncode == 0, ended.stderr
    assert "a red circle" in ended.stdout
    warning, demo = ended.stderr.splitlines()
    assert_warned_once(warning)
    assert demo.startswith("The demo model answered")


def test_user_without_a_name_and_a_home_ranks_a_folder(tmp_path: Path) -> None:
    out = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))  # where that user may write
    try:
        out.chmod(0o777)
        (tmp_path / "colours.txt").write_text("red\nblue\n")
        own = {"GAZE_LISTS_DIR": tmp_path}
        ended = nameless("bulk", "examples", "--lists", "colours", "--out", str(out / "out.jsonl"), "--quiet", **own)
        assert ended.returncode == 0, ended.stderr
        assert len((out / "out.jsonl").read_text(encoding="utf-8").splitlines()) > 5
        assert sum(NO_CACHE in line for line in ended.stderr.splitlines()) == 1
    finally:
        shutil.rmtree(out)


def test_nothing_is_prepared_for_a_user_without_a_home(tmp_path: Path) -> None:
    ended = nameless("prepare")
    assert ended.returncode == 78
    warning, told = ended.stderr.splitlines()
    assert_warned_once(warning)
    assert "it goes with this process" in told
    assert "set GAZE_CACHE_DIR" in told
    assert nameless("prepare", "--model-only").returncode == 0
    assert tmp_path.exists()


def test_home_that_cannot_be_written_to_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc")  # where not even root can make a folder
    with capture_logs() as logs:
        cache = cache_of(Settings(model="demo"))
    assert [line["event"] for line in logs] == [NO_CACHE]
    assert cache.complaint
    assert cache.path.is_dir()


def test_cache_that_was_prepared_is_read_where_it_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "gaze").mkdir(mode=0o555)
    with capture_logs() as logs:
        assert cache_of(Settings(model="demo")).path == tmp_path / "gaze"
    assert logs == []
