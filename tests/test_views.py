"""Views of a picture are what their names say, all at the model's size."""

import pickle

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.images.decode import ImageLimits, decode
from service.zero_shot.interpretation.stability import Views
from service.zero_shot.preprocessing.preparation import Fit, Framing
from tests.conftest import encoded, noise

FRAMING = Framing((224, 224), 224, Image.Resampling.BICUBIC, "crop")
OBLONG = Framing((40, 57), 60, Image.Resampling.BILINEAR, "stretch")
CORNERS = ("top_left", "top_right", "bottom_left", "bottom_right")
OTHERS = (*CORNERS, "mirrored", "grey", "smaller")
LIMITS = ImageLimits(max_bytes=64 * 1024**2, max_pixels=10_000_000)


def bytes_of(views: dict[str, NDArray[np.uint8]]) -> dict[str, bytes]:
    return {name: view.tobytes() for name, view in views.items()}


@pytest.mark.parametrize("framing", [FRAMING, OBLONG])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(1, 1), (100, 1), (300, 200), (57, 40)], ids=str)
def test_one_view_is_the_picture_as_it_is_framed(size: tuple[int, int], fit: Fit, framing: Framing) -> None:
    picture = noise(*size)
    [(name, view)] = Views(framing, fit)(picture).items()
    assert name == fit
    assert view.tobytes() == framing(picture, fit).tobytes()


@pytest.mark.parametrize("framing", [FRAMING, OBLONG])
@pytest.mark.parametrize(
    ("fit", "fits"),
    [("crop", ("crop", "pad")), ("pad", ("pad", "crop")), ("stretch", ("stretch", "crop", "pad"))],
)
@pytest.mark.parametrize("size", [(1, 1), (100, 1), (1, 100), (300, 200), (57, 40)], ids=str)
def test_several_views_begin_with_the_fit_that_was_asked_for(
    size: tuple[int, int], fit: Fit, fits: tuple[Fit, ...], framing: Framing
) -> None:
    picture = noise(*size)
    views = Views(framing, fit, several=True)(picture)
    assert tuple(views) == (*fits, *OTHERS)
    for view in views.values():
        assert view.shape == (*framing.size, 3)
        assert view.dtype == np.uint8
    for each in fits:
        assert views[each].tobytes() == framing(picture, each).tobytes()
    corners = {name: corner.tobytes() for name, corner in framing.corners(picture).items()}
    assert {name: views[name].tobytes() for name in CORNERS} == corners


@pytest.mark.parametrize("framing", [FRAMING, OBLONG])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_the_first_view_is_mirrored_and_made_grey(fit: Fit, framing: Framing) -> None:
    views = Views(framing, fit, several=True)(noise(300, 170))
    first = views[fit]
    np.testing.assert_array_equal(views["mirrored"], first[:, ::-1])
    assert (views["mirrored"] != first).any()
    luma = first @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(views["grey"], np.repeat(luma[..., None], 3, axis=2), atol=1)
    assert (np.ptp(views["grey"], axis=2) == 0).all()


def test_made_smaller_it_has_lost_what_is_as_fine_as_a_pixel_and_nothing_else() -> None:
    fine = Image.fromarray((255 * (np.indices((224, 224)).sum(axis=0) % 2)).astype(np.uint8)).convert("RGB")
    assert np.abs(Views(FRAMING, "crop", several=True)(fine)["smaller"].astype(int) - 127.5).max() < 2
    views = Views(FRAMING, "crop", several=True)(noise(300, 200))
    away = np.abs(views["smaller"].astype(int) - views["crop"])
    assert 0 < away.mean() < 2


def test_made_smaller_it_keeps_what_is_two_pixels_wide() -> None:
    coarse = np.kron(np.indices((112, 112)).sum(axis=0) % 2, np.ones((2, 2)))
    picture = Image.fromarray((255 * coarse).astype(np.uint8)).convert("RGB")
    smaller = Views(FRAMING, "crop", several=True)(picture)["smaller"]
    np.testing.assert_array_equal(smaller[2:-2, 2:-2] > 127, np.asarray(picture)[2:-2, 2:-2] > 127)


def test_a_model_that_takes_one_pixel_has_all_views() -> None:
    views = Views(Framing((1, 1), 1, Image.Resampling.BICUBIC, "crop"), "crop", several=True)(noise(30, 20))
    assert tuple(views) == ("crop", "pad", *OTHERS)
    assert {view.shape for view in views.values()} == {(1, 1, 3)}


@pytest.mark.parametrize("several", [False, True])
def test_what_was_sent_to_another_process_makes_the_same_views(*, several: bool) -> None:
    views = Views(FRAMING, "stretch", several)
    picture = noise(300, 200)
    sent = pickle.loads(pickle.dumps(views))
    assert sent == views
    made, expected = bytes_of(sent(picture)), bytes_of(views(picture))
    assert made == expected
    assert list(made) == list(expected)
    assert len(set(made.values())) == len(made)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(1_300, 1_700), (6_000, 400)], ids=str)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_views_of_a_picture_in_parts_are_those_of_the_whole(orientation: int, size: tuple[int, int], fit: Fit) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(noise(*size), "TIFF", exif=exif)
    parts, whole = decode(file, LIMITS).oriented, decode(file, LIMITS).oriented.whole()
    views = Views(FRAMING, fit, several=True)
    expected = bytes_of(views(whole))
    assert bytes_of(views(parts)) == expected
    assert bytes_of(views(parts, 3)) == expected


def test_the_picture_itself_is_left_alone() -> None:
    picture = noise(224, 224)
    before = picture.tobytes()
    views = Views(FRAMING, "crop", several=True)(picture)
    assert picture.tobytes() == before
    assert views["crop"].tobytes() == before
