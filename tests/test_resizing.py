"""Pictures resized in bands are what Pillow makes of them in one go, to the last bit."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.zero_shot.preprocessing.preparation import resized
from tests.conftest import noise

RESAMPLES = tuple(Image.Resampling)


@pytest.mark.parametrize("cores", [0, 1, 2, 3, 5, 16])
@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize("size", [(2175, 1713), (800, 600), (3000, 301), (301, 3000)], ids=str)
def test_large_pictures_are_as_from_pillow(size: tuple[int, int], resample: Image.Resampling, cores: int) -> None:
    picture = noise(*size)
    for target in ((284, 224), (224, size[1]), (size[0], 224), (2000, 1500), (1, 1)):
        expected = picture.resize(target, resample)
        np.testing.assert_array_equal(np.asarray(resized(picture, target, resample, cores)), np.asarray(expected))


@settings(max_examples=500, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    target=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    resample=st.sampled_from(RESAMPLES),
    cores=st.integers(0, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_bands_of_any_height_are_as_from_pillow(
    *, size: tuple[int, int], target: tuple[int, int], resample: Image.Resampling, cores: int, seed: int
) -> None:
    samples = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(samples)
    with pytest.MonkeyPatch.context() as small_bands:
        small_bands.setattr("service.zero_shot.preprocessing.preparation._MIN_PIXELS_A_CORE", 1)
        ours = resized(picture, target, resample, cores)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(picture.resize(target, resample)))


class Parts:
    """A picture of which only parts can be had."""

    def __init__(self, picture: Image.Image) -> None:
        self.width, self.height = picture.size
        self.largest = 0
        self._picture = picture

    def crop(self, box: tuple[int, int, int, int]) -> Image.Image:
        self.largest = max(self.largest, (box[2] - box[0]) * (box[3] - box[1]))
        return self._picture.crop(box)


@settings(max_examples=500, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    target=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    resample=st.sampled_from(RESAMPLES),
    band=st.integers(1, 3000),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_had_in_parts_is_as_from_pillow(
    *, size: tuple[int, int], target: tuple[int, int], resample: Image.Resampling, band: int, seed: int
) -> None:
    samples = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(samples)
    with pytest.MonkeyPatch.context() as small_bands:
        small_bands.setattr("service.zero_shot.preprocessing.preparation._BAND_PIXELS", band)
        ours = resized(Parts(picture), target, resample)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(picture.resize(target, resample)))


@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize("size", [(2175, 1713), (600, 9000), (9000, 600), (1500, 3999)], ids=str)
def test_parts_are_small(size: tuple[int, int], resample: Image.Resampling) -> None:
    picture = noise(*size)
    parts = Parts(picture)
    for target in ((284, 224), (224, 224), (224, 448), (1, 1)):
        expected = picture.resize(target, resample)
        np.testing.assert_array_equal(np.asarray(resized(parts, target, resample)), np.asarray(expected))
    assert 0 < parts.largest <= 1_000_000


@pytest.mark.parametrize(
    ("size", "cores", "threads"),
    [((2175, 1713), 1, 1), ((2175, 1713), 2, 2), ((2175, 1713), 4, 4), ((800, 600), 4, 2), ((300, 200), 4, 1)],
)
def test_bands_are_resized_side_by_side(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], cores: int, threads: int
) -> None:
    picture = noise(*size)
    seen: list[int] = []
    all_there = threading.Barrier(threads, timeout=10)
    pillows = Image.Image.resize

    def resize(image: Image.Image, *arguments: Any, **named: Any) -> Image.Image:
        if image.width == picture.width:  # not what was resized along its rows already
            all_there.wait()
            seen.append(threading.get_ident())
        return pillows(image, *arguments, **named)

    monkeypatch.setattr(Image.Image, "resize", resize)
    resized(picture, (284, 224), Image.Resampling.BICUBIC, cores)
    assert len(set(seen)) == threads
    assert all(seen.count(thread) == len(seen) / threads for thread in seen)
