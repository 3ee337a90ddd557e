"""The parts that the server and the command line share: lists from the settings, and a classifier on them."""

from pathlib import Path

import pytest
from PIL import Image

from service.composition import load_classifier, served_lists
from service.errors import InvalidList
from service.settings import Settings
from service.zero_shot import hub


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
    settings = Settings(model="demo", lists_dir=tmp_path, threads=1)
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
