"""The parts that the server and the command line share: lists from the settings, and a classifier on them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from service.composition import load_classifier, served_lists
from service.errors import InvalidList
from service.settings import Settings
from service.zero_shot import hub
from service.zero_shot.phrase_lists import own_list
from tests.conftest import CACHE


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
        settings, hub.locate("demo", None), ours, lambda done, total: heard.append((done, total))
    )
    [encoded] = classifier.lists_named(["colours"])
    ranked = classifier.rank(classifier.encode_image(Image.new("RGB", (64, 64), "red")), encoded, None)
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
            classifier = load_classifier(settings, hub.locate("demo", None), lists)
        told.append([line["event"] for line in logs])
        [encoded] = classifier.lists_named(["colours"])
        features.append(encoded.text_features.features)
    assert told == [["model converted", "text features encoded"], ["text features read"]]
    np.testing.assert_array_equal(features[0], features[1])
    assert sorted(folder.name for folder in (tmp_path / "gaze").iterdir()) == ["converted", "locks", "text-features"]
