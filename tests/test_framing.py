"""Framing shows the model what it says it shows: drawn marks are found where region() tells."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot.classifier import ZeroShotClassifier
from service.zero_shot.preprocessing.preparation import Fit, Framing, with_short_side
from tests.conftest import noise
from tests.support.rankings import framing_of

FITS: tuple[Fit, ...] = ("crop", "pad", "stretch")
CLIP = Framing((224, 224), 224, Image.Resampling.BICUBIC, "crop")
SIGLIP = Framing((224, 224), 224, Image.Resampling.BILINEAR, "stretch")
CUT = Framing((96, 96), 120, Image.Resampling.BICUBIC, "crop")
"""It sees less than the middle square."""

LOW = Framing((31, 50), 57, Image.Resampling.BICUBIC, "crop")
HIGH = Framing((50, 31), 50, Image.Resampling.BILINEAR, "stretch")
FRAMINGS = (CLIP, SIGLIP, CUT, LOW, HIGH)
SHAPES = ((1, 1), (1, 2), (100, 1), (1, 100), (3, 299), (700, 7), (301, 200), (224, 224), (225, 224), (640, 479))

framings = st.sampled_from(FRAMINGS)
fits = st.sampled_from(FITS)
sides = st.integers(16, 400)
shares = st.floats(0, 1)

Samples = NDArray[np.float64]


def samples_of(picture: Image.Image) -> Samples:
    return np.asarray(picture, dtype=np.float64)


def marked(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    picture = Image.new("RGB", size, "black")
    picture.paste("white", box)
    return picture


def bars_and_picture(size: tuple[int, int]) -> Image.Image:
    """Return a picture that is red on the left or the upper half and blue on the other, so that bars are purple."""
    picture = Image.new("RGB", size, "red")
    width, height = size
    picture.paste("blue", (0, height // 2, width, height) if height > width else (width // 2, 0, width, height))
    return picture


def shown_by_pad(framing: Framing, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what is not a bar."""
    samples = samples_of(framing(bars_and_picture(size), "pad"))
    of_picture = np.abs(samples[..., 0] - samples[..., 2]) > 120
    columns, rows = np.flatnonzero(of_picture.any(axis=0)), np.flatnonzero(of_picture.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@settings(max_examples=300, deadline=None)
@given(framing=framings, fit=fits, width=sides, height=sides, across=shares, down=shares)
def test_a_mark_is_found_where_region_says(
    *, framing: Framing, fit: Fit, width: int, height: int, across: float, down: float
) -> None:
    rows, columns = framing.size
    left, top, seen_width, seen_height = framing.region(width, height, fit)
    pixel = seen_width / columns, seen_height / rows
    mark = max(4, int(4 * pixel[0])), max(4, int(4 * pixel[1]))
    # Inside of what is seen by as much as a filter may spread the mark.
    room = [2 + 3 * max(1.0, each) for each in pixel]
    first = max(0.0, left) + room[0], max(0.0, top) + room[1]
    last = min(width, left + seen_width) - room[0] - mark[0], min(height, top + seen_height) - room[1] - mark[1]
    if last[0] < first[0] or last[1] < first[1]:
        return
    x, y = round(first[0] + across * (last[0] - first[0])), round(first[1] + down * (last[1] - first[1]))
    framed = framing(marked((width, height), (x, y, x + mark[0], y + mark[1])), fit)
    assert framed.mode == "RGB"
    assert framed.size == (columns, rows)
    light = samples_of(framed)[..., 0]
    assert light.max() > 150
    row, column = np.indices(light.shape) + 0.5
    found = (light * column).sum() / light.sum(), (light * row).sum() / light.sum()
    assert found == pytest.approx(((x + mark[0] / 2 - left) / pixel[0], (y + mark[1] / 2 - top) / pixel[1]), abs=0.6)


@settings(max_examples=200, deadline=None)
@given(framing=framings, width=sides, height=sides, place=shares)
def test_what_lies_outside_the_region_is_not_seen(*, framing: Framing, width: int, height: int, place: float) -> None:
    left, top, seen_width, seen_height = framing.region(width, height, "crop")
    assert left > -1e-9
    assert top > -1e-9
    assert left + seen_width < width + 1e-9
    assert top + seen_height < height + 1e-9
    picture = Image.new("RGB", (width, height), "white")
    room = [4 + 4 * max(1.0, seen_width / framing.size[1]), 4 + 4 * max(1.0, seen_height / framing.size[0])]
    kept = int(left - room[0]), int(top - room[1]), int(left + seen_width + room[0]), int(top + seen_height + room[1])
    picture.paste("black", (max(0, kept[0]), max(0, kept[1]), min(width, kept[2]), min(height, kept[3])))
    assert framing(picture, "crop").getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("width", "height"), [(700, 7), (7, 700), (300, 3), (3, 300), (100, 1), (1, 100), (200, 3)])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_where_black_meets_white_on_a_strip_is_where_region_says(
    framing: Framing, width: int, height: int, fit: Fit
) -> None:
    edge = max(width, height) // 2
    box = (edge, 0, width, height) if width > height else (0, edge, width, height)
    framed = samples_of(framing(marked((width, height), box), fit))[..., 0]
    left, top, seen_width, seen_height = framing.region(width, height, fit)
    rows, columns = framing.size
    if width > height:
        start, pixel, lines = left, seen_width / columns, framed
    else:
        start, pixel, lines = top, seen_height / rows, framed.T
    line = lines[np.ptp(lines, axis=1).argmax()]  # not one of a bar
    assert np.flatnonzero(line > 127)[0] == pytest.approx((edge - start) / pixel, abs=1.0)
    assert (np.diff(line > 127)).sum() == 1


@pytest.mark.parametrize("fit", FITS)
def test_all_of_a_square_picture_is_seen_by_a_square_model(fit: Fit) -> None:
    for side in (1, 2, 223, 224, 1000):
        assert CLIP.region(side, side, fit) == pytest.approx((0, 0, side, side))
        picture = noise(side, side)
        expected = picture.resize((224, 224), Image.Resampling.BICUBIC)
        assert CLIP(picture, fit).tobytes() == expected.tobytes()


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", SHAPES, ids=str)
def test_a_plain_picture_of_any_shape_stays_plain(size: tuple[int, int], fit: Fit, framing: Framing) -> None:
    framed = framing(Image.new("RGB", size, (12, 200, 77)), fit)
    assert framed.size == framing.size[::-1]
    assert framed.getcolors() == [(framing.size[0] * framing.size[1], (12, 200, 77))]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", SHAPES, ids=str)
def test_stretched_it_is_all_of_the_picture(size: tuple[int, int], framing: Framing) -> None:
    picture = noise(*size)
    assert framing.region(*size, "stretch") == (0, 0, *size)
    expected = picture.resize(framing.size[::-1], Image.Resampling(framing.resample))
    assert framing(picture, "stretch").tobytes() == expected.tobytes()


@settings(max_examples=200, deadline=None)
@given(framing=framings, width=st.integers(2, 700), height=st.integers(2, 700))
def test_on_bars_is_all_of_the_picture_in_its_proportions(*, framing: Framing, width: int, height: int) -> None:
    rows, columns = framing.size
    scale = min(columns / width, rows / height)
    left, top, right, bottom = shown_by_pad(framing, (width, height))
    # It fills the model's size one way, and is whole to a pixel the other way.
    assert right - left == pytest.approx(width * scale, abs=1.01)
    assert bottom - top == pytest.approx(height * scale, abs=1.01)
    assert right - left == columns or bottom - top == rows
    assert abs(left - (columns - right)) <= 1
    assert abs(top - (rows - bottom)) <= 1
    region = framing.region(width, height, "pad")
    across, down = region[2] / columns, region[3] / rows
    assert (-region[0] / across, -region[1] / down) == pytest.approx((left, top), abs=1e-6)
    assert ((width - region[0]) / across, (height - region[1]) / down) == pytest.approx((right, bottom), abs=1e-6)


def test_the_picture_lies_on_bars_of_the_mean_colour_of_its_edge() -> None:
    picture = Image.new("RGB", (400, 100), (200, 40, 0))
    picture.paste((0, 40, 100), (200, 0, 400, 100))
    picture.paste((255, 255, 255), (20, 20, 380, 80))
    framed = samples_of(CLIP(picture, "pad"))
    bars = np.concatenate([framed[:84], framed[140:]])
    assert (bars == bars[0, 0]).all()
    np.testing.assert_allclose(bars[0, 0], (100, 40, 50), atol=2)
    np.testing.assert_allclose(framed[112, 112], (255, 255, 255), atol=1)
    np.testing.assert_allclose(framed[85, 2], (200, 40, 0), atol=3)


@settings(max_examples=50, deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), seed=st.integers(0, 999))
def test_bars_have_the_mean_colour_of_what_is_seen_of_the_edge(*, width: int, height: int, seed: int) -> None:
    picture = noise(width, height, seed=seed)
    scale = 224 / max(width, height)
    small = samples_of(picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), 3))
    edge = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]]).mean(axis=0)
    framed = samples_of(CLIP(picture, "pad"))
    if min(small.shape[:2]) < 224:
        np.testing.assert_allclose(framed[-1, -1], edge, atol=0.51)
    if min(small.shape[:2]) < 223:  # a bar on the other side too
        np.testing.assert_array_equal(framed[0, 0], framed[-1, -1])


@pytest.mark.parametrize("size", SHAPES, ids=str)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_corners_are_the_pictures_corners(framing: Framing, size: tuple[int, int]) -> None:
    picture = noise(*size)
    height, width = framing.size
    side = 0.75 * min(size) / max(framing.size)
    seen = max(1, round(width * side)), max(1, round(height * side))  # in whole pixels
    corners = framing.corners(picture)
    assert list(corners) == ["top_left", "top_right", "bottom_left", "bottom_right"]
    for (down, across), corner in zip(itertools.product((0, 1), (0, 1)), corners.values(), strict=True):
        assert (corner.mode, corner.size) == ("RGB", (width, height))
        left, top = across * (size[0] - seen[0]), down * (size[1] - seen[1])
        part = picture.crop((left, top, left + seen[0], top + seen[1]))
        expected = part.resize((width, height), Image.Resampling(framing.resample))
        np.testing.assert_array_equal(samples_of(corner), samples_of(expected))


def test_each_corner_shows_the_mark_that_lies_in_it() -> None:
    width, height = 500, 300
    places = ((0, 0), (460, 0), (0, 260), (460, 260))
    for number, (left, top) in enumerate(places):
        corners = CLIP.corners(marked((width, height), (left, top, left + 40, top + 40)))
        light = [float(samples_of(corner).mean()) for corner in corners.values()]
        assert int(np.argmax(light)) == number
        # Three quarters of the short side are 225 pixels.
        assert light[number] == pytest.approx(255 * (40 / 225) ** 2, rel=0.05)
        assert sum(light) == light[number]


@pytest.mark.parametrize(
    ("edge", "size", "expected"),
    [
        (224, (224, 224), (224, 224)),
        (224, (100, 200), (224, 448)),
        (224, (200, 100), (448, 224)),
        (224, (2175, 1713), (284, 224)),
        (224, (1, 1), (224, 224)),
        (224, (1, 100), (224, 22_400)),
    ],
)
def test_the_short_side_is_made_the_edge(edge: int, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert with_short_side(edge, *size) == expected


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_picture_itself_is_left_alone_and_cores_change_nothing(framing: Framing, fit: Fit) -> None:
    picture = noise(1400, 900)
    before = picture.tobytes()
    assert framing(picture, fit, 3).tobytes() == framing(picture, fit).tobytes()
    assert [each.tobytes() for each in framing.corners(picture, 3).values()] == [
        each.tobytes() for each in framing.corners(picture).values()
    ]
    assert picture.tobytes() == before


@pytest.mark.parametrize("size", SHAPES, ids=str)
def test_framed_as_its_own_a_picture_has_the_models_own_features(
    classifier: ZeroShotClassifier, size: tuple[int, int]
) -> None:
    framing = framing_of(classifier)
    picture = noise(*size)
    [own] = classifier.encode_views([framing(picture, framing.own)])
    assert own.tobytes() == classifier.encode_image(picture).tobytes()
