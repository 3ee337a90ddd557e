"""Neutral pictures are drawn, the same at every call, and each unlike the others."""

import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from service.zero_shot.interpretation.lift import SIZE, neutral_pictures
from tests.conftest import REPOSITORY

DRAWN = {
    "fine noise",
    "fine coloured noise",
    "coarse noise",
    "coarse coloured noise",
    "white canvas",
    "raw canvas",
    "paper",
}
"""What depends on the seed."""

HASHES = (
    "import hashlib\n"
    "from service.zero_shot.interpretation.lift import neutral_pictures\n"
    "for picture in neutral_pictures().values(): print(hashlib.sha256(picture.tobytes()).hexdigest())"
)


def samples_of(name: str) -> NDArray[np.float64]:
    return np.asarray(neutral_pictures()[name], dtype=np.float64)


def test_they_are_the_same_at_every_call() -> None:
    first, second = neutral_pictures(), neutral_pictures()
    assert list(first) == list(second)
    assert [picture.tobytes() for picture in first.values()] == [picture.tobytes() for picture in second.values()]


def test_they_are_the_same_in_another_process() -> None:
    printed = subprocess.run([sys.executable, "-c", HASHES], cwd=REPOSITORY, capture_output=True, check=True).stdout
    here = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in neutral_pictures().values()]
    assert printed.decode().split() == here
    assert len(set(here)) == len(here)


@pytest.mark.parametrize("seed", [1, 2])
def test_another_seed_draws_others_of_the_same_names(seed: int) -> None:
    usual, other = neutral_pictures(), neutral_pictures(seed)
    assert list(usual) == list(other)
    assert {name for name in usual if usual[name].tobytes() != other[name].tobytes()} == DRAWN


def test_all_are_rgb_of_one_size_and_none_is_like_another() -> None:
    pictures = neutral_pictures()
    assert {(picture.mode, picture.size) for picture in pictures.values()} == {("RGB", (SIZE, SIZE))}
    for one, other in itertools.combinations(pictures.values(), 2):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).mean() > 1


@pytest.mark.parametrize("level", [0, 64, 128, 192, 255])
def test_a_grey_is_of_one_level(level: int) -> None:
    assert neutral_pictures()[f"grey {level}"].getcolors() == [(SIZE * SIZE, (level,) * 3)]


def test_gradients_go_from_black_to_white_the_way_they_are_named() -> None:
    down, across, aslant = (samples_of(f"gradient {way}")[..., 0] for way in ("down", "across", "aslant"))
    np.testing.assert_array_equal(down, across.T)
    np.testing.assert_array_equal(down[:, 0], np.arange(256))
    assert (down == down[:, :1]).all()
    np.testing.assert_array_equal(aslant, aslant.T)
    assert (aslant[0, 0], aslant[-1, -1]) == (0, 255)
    assert aslant[0, -1] == pytest.approx(127.5, abs=0.5)


@pytest.mark.parametrize("name", ["fine noise", "coarse noise", "gradient down", "vignette", "grey 64"])
def test_what_is_not_named_coloured_has_no_colour(name: str) -> None:
    assert (np.ptp(samples_of(name), axis=2) == 0).all()


@pytest.mark.parametrize("name", ["fine coloured noise", "coarse coloured noise"])
def test_coloured_noise_is_coloured(name: str) -> None:
    assert np.ptp(samples_of(name), axis=2).mean() > 20


def test_fine_noise_differs_from_pixel_to_pixel_and_coarse_noise_hardly() -> None:
    steps = {kind: np.abs(np.diff(samples_of(f"{kind} noise")[..., 0], axis=1)).mean() for kind in ("fine", "coarse")}
    assert steps["fine"] > 10 * steps["coarse"]


@pytest.mark.parametrize(("name", "darkest"), [("white canvas", 190), ("raw canvas", 120), ("paper", 200)])
def test_canvas_and_paper_are_pale_and_even(name: str, darkest: int) -> None:
    samples = samples_of(name)
    blocks = samples.reshape(8, 32, 8, 32, 3).mean(axis=(1, 3))
    assert samples.mean(axis=(0, 1)).min() > darkest - 10
    assert np.ptp(blocks, axis=(0, 1)).max() < 40
    red, green, blue = samples.mean(axis=(0, 1))
    assert red > green > blue


def test_what_is_done_to_one_is_not_seen_at_the_next_call() -> None:
    first = neutral_pictures()["white canvas"]
    before = first.tobytes()
    first.paste("red", (0, 0, SIZE, SIZE))
    assert neutral_pictures()["white canvas"].tobytes() == before
