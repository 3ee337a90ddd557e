"""Heat maps lie on what a phrase names, and what lies under them is what raises the phrase."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.drawn import hull, two_objects
from benchmarks.heat_maps import curves, maps_of
from service.zero_shot.classifier import ZeroShotClassifier
from service.zero_shot.interpretation.heat_map import FLAT_SIMILARITY, HeatMap, heat_maps, overlay_of, pictures_to_ask
from service.zero_shot.phrase_lists import own_list
from service.zero_shot.ranking import cosines
from tests.support.rankings import framing_of
from training.samples import sample_pictures

SIZE = 224
GRID = 14


def seen(picture: Image.Image, classifier: ZeroShotClassifier) -> NDArray[np.uint8]:
    """Return what the demo model sees of a picture: its middle square."""
    return np.asarray(framing_of(classifier)(picture, "crop"))


def strongest(found: HeatMap) -> tuple[int, int]:
    """Return the pixel, in what the model sees, in the middle of the map's hottest patch."""
    row, column = np.unravel_index(int(found.values.argmax()), found.values.shape)
    patch = SIZE // GRID
    return int(row) * patch + patch // 2, int(column) * patch + patch // 2


def test_hottest_place_lies_in_the_object_that_the_phrase_names(classifier: ZeroShotClassifier) -> None:
    right = wrong = 0
    for seed in range(200):
        scene = two_objects(seed)
        inside = [hull(Image.fromarray(seen(mask.convert("RGB"), classifier)[..., 0])) for mask in scene.masks]
        for index, found in enumerate(maps_of(classifier, seen(scene.picture, classifier), scene.phrases)):
            place = strongest(found)
            right += bool(inside[index][place])
            wrong += bool(inside[1 - index][place])
    assert right >= 0.9 * 400
    assert wrong <= 0.05 * 400


@pytest.mark.parametrize("shade", ["white", "black", "grey", "crimson"])
def test_map_of_a_blank_picture_is_flat(classifier: ZeroShotClassifier, shade: str) -> None:
    blank = np.asarray(Image.new("RGB", (SIZE, SIZE), shade))
    for found in maps_of(classifier, blank, ("a red circle", f"plain {shade}")):
        assert found.flat
        assert not found.values.any()


def test_what_is_hot_raises_the_phrase_sooner_than_what_is_drawn_by_lot(classifier: ZeroShotClassifier) -> None:
    rng = np.random.default_rng(1)
    inserted, deleted = [], []
    for seed in range(20):
        scene = two_objects(1_000 + seed)
        picture = seen(scene.picture, classifier)
        [found] = maps_of(classifier, picture, scene.phrases[:1])
        lot = rng.random(found.values.shape).astype(np.float32)
        ours, random = (curves(classifier, picture, scene.phrases[0], values) for values in (found.values, lot))
        inserted.append(ours.insertion - random.insertion)
        deleted.append(random.deletion - ours.deletion)
    assert np.mean(inserted) > 0.05
    assert np.mean(deleted) > 0.05
    assert np.mean(np.array(inserted) > 0) >= 0.8
    assert np.mean(np.array(deleted) > 0) >= 0.8


def test_a_map_does_not_depend_on_the_other_phrases(classifier: ZeroShotClassifier) -> None:
    picture = seen(sample_pictures()["yellow-star.jpg"], classifier)
    [alone] = maps_of(classifier, picture, ("a yellow star",))
    first, second = maps_of(classifier, picture, ("a yellow star", "a blue circle"))
    np.testing.assert_allclose(first.values, alone.values, atol=1e-4)
    assert first.similarity == pytest.approx(alone.similarity, abs=1e-6)
    assert second.similarity < first.similarity
    [encoded] = classifier.encode_lists([own_list("phrases", ("a yellow star",), "{}")])
    expected = cosines(classifier.encode_views([Image.fromarray(picture)])[0], encoded.text_features)
    assert first.similarity == pytest.approx(float(expected[0]), abs=1e-6)


def test_pictures_to_ask_are_all_of_it_then_each_part_alone_then_all_but_each() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    asked = pictures_to_ask(picture)
    assert len(asked) == 51
    np.testing.assert_array_equal(np.asarray(asked[0]), picture)
    alone, covered = np.asarray(asked[13], dtype=float), np.asarray(asked[38], dtype=float)
    middle, corner = np.s_[30:34, 30:34], np.s_[:4, :4]
    assert np.abs(alone[middle] - picture[middle]).mean() < 3 < np.abs(covered[middle] - picture[middle]).mean()
    assert np.abs(covered[corner] - picture[corner]).mean() < 3 < np.abs(alone[corner] - picture[corner]).mean()


def gains(**of_disc: float) -> NDArray[np.float32]:
    """Return similarities [51, 1] in which discs, named as `d` and a number, have these gains and all others none."""
    similarities = np.full((51, 1), 0.2, np.float32)
    for name, gain in of_disc.items():
        similarities[1 + int(name[1:]), 0] += gain
    return similarities


@pytest.mark.parametrize(
    ("disc", "row", "column"), [("d0", 1, 1), ("d4", 1, 8), ("d12", 5, 5), ("d20", 8, 1), ("d24", 8, 8)]
)
def test_map_is_hot_where_a_disc_is(disc: str, row: int, column: int) -> None:
    [found] = heat_maps(gains(**{disc: 0.1}), 10, 10)
    hot = np.unravel_index(int(found.values.argmax()), (10, 10))
    assert max(abs(hot[0] - row), abs(hot[1] - column)) <= 1
    assert (found.values.min(), found.values.max()) == (0, 1)
    assert found.gain == pytest.approx(0.1)
    assert not found.flat


def test_map_may_have_more_rows_than_columns() -> None:
    [found] = heat_maps(gains(d4=0.1), 4, 9)
    assert found.values.shape == (4, 9)
    assert np.unravel_index(int(found.values.argmax()), (4, 9))[1] >= 6


def test_small_differences_make_a_flat_map() -> None:
    [flat] = heat_maps(gains(d3=0.9 * FLAT_SIMILARITY), 7, 7)
    [not_flat] = heat_maps(gains(d3=1.1 * FLAT_SIMILARITY), 7, 7)
    assert (flat.flat, not_flat.flat) == (True, False)
    assert not flat.values.any()


def test_overlay_is_clear_where_it_is_cold_and_red_where_it_is_hot() -> None:
    [found] = heat_maps(gains(d24=0.1), 7, 7)
    overlay = np.asarray(overlay_of(found, (70, 70)))
    assert overlay.shape == (70, 70, 4)
    assert overlay[0, 0, 3] == 0
    red, green, blue, alpha = overlay[57, 57]
    assert (red, blue) == (255, 0)
    assert green < 40
    assert alpha > 150
