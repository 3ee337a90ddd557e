"""Preparation makes of a picture what the model's own processor does in its Pillow form, to the last bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from service.zero_shot.preprocessing.preparation import Framing, Preparation
from service.zero_shot.preprocessing.processors import preparation_of
from tests.conftest import noise

ODD_NUMBERS: dict[str, Any] = {
    "image_mean": [0.1, 0.77, 0.3],
    "image_std": [0.9, 0.13, 0.31],
    "rescale_factor": 1 / 127.5,
}
PROCESSORS: dict[str, Callable[[], Any]] = {
    "clip": CLIPImageProcessorPil,
    "clip, odd": lambda: CLIPImageProcessorPil(
        size={"shortest_edge": 57}, crop_size={"height": 41, "width": 56}, resample=2, **ODD_NUMBERS
    ),
    "clip, all of the short side": lambda: CLIPImageProcessorPil(
        size={"shortest_edge": 33}, crop_size={"height": 33, "width": 20}
    ),
    "clip, not cut": lambda: CLIPImageProcessorPil(size={"shortest_edge": 33}, do_center_crop=False),
    "clip, stretched": lambda: CLIPImageProcessorPil(size={"height": 31, "width": 50}, do_center_crop=False),
    "siglip": SiglipImageProcessorPil,
    "siglip, odd": lambda: SiglipImageProcessorPil(size={"height": 31, "width": 50}, resample=1, **ODD_NUMBERS),
    "siglip, nearest": lambda: SiglipImageProcessorPil(size={"height": 50, "width": 31}, resample=0),
}
SIZES = (
    (1, 1),
    (1, 47),
    (47, 1),
    (7, 300),
    (300, 7),
    (31, 47),
    (33, 33),
    (57, 58),
    (223, 400),
    (224, 224),
    (225, 224),
    (224, 225),
    (448, 447),
    (1000, 50),
    (2175, 1713),
)


@pytest.fixture(scope="module", params=PROCESSORS)
def processor(request: pytest.FixtureRequest) -> Any:
    """One of transformers' own processors."""
    return PROCESSORS[request.param]()


def prepared_by(processor: Any) -> Preparation:
    preparation = preparation_of(processor)
    assert preparation is not None
    return preparation


def assert_same(processor: Any, picture: Image.Image) -> None:
    expected = processor(images=[picture], return_tensors="np")["pixel_values"][0]
    ours = prepared_by(processor)(picture)
    assert list(ours) == ["pixel_values"]
    assert ours["pixel_values"].dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(ours["pixel_values"], expected)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_pictures_of_many_sizes_are_prepared_as_by_transformers(processor: Any, size: tuple[int, int]) -> None:
    assert_same(processor, noise(*size))


@settings(max_examples=200, deadline=None)
@given(
    width=st.integers(1, 130),
    height=st.integers(1, 130),
    edge=st.integers(1, 70),
    crop=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    resample=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_edge_and_crop(
    *, width: int, height: int, edge: int, crop: tuple[int, int], resample: int, seed: int
) -> None:
    edge = max(edge, *crop)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": edge}, crop_size={"height": crop[0], "width": crop[1]}, resample=resample
    )
    samples = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert_same(processor, Image.fromarray(samples))


@settings(max_examples=200, deadline=None)
@given(
    rescale_factor=st.floats(1e-4, 2),
    mean=st.tuples(*[st.floats(-2, 2)] * 3),
    std=st.tuples(*[st.floats(0.01, 2)] * 3),
)
def test_every_value_of_a_sample_is_rescaled_and_normalised_to_the_last_bit(
    rescale_factor: float, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    processor = SiglipImageProcessorPil(
        size={"height": 16, "width": 16}, rescale_factor=rescale_factor, image_mean=list(mean), image_std=list(std)
    )
    all_values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert_same(processor, Image.fromarray(np.stack([all_values, all_values.T, all_values[::-1]], axis=2)))


def test_picture_itself_is_left_alone(processor: Any) -> None:
    picture = noise(300, 200)
    before = picture.tobytes()
    prepared_by(processor)(picture)
    assert (picture.tobytes(), picture.size) == (before, (300, 200))


def test_pictures_prepared_one_after_another_do_not_share_memory(processor: Any) -> None:
    preparation = prepared_by(processor)
    first = preparation(noise(60, 40, seed=0))["pixel_values"]
    kept = first.copy()
    preparation(noise(60, 40, seed=1))
    np.testing.assert_array_equal(first, kept)


FRAMINGS: dict[str, Framing | None] = {
    "clip": Framing((224, 224), 224, Image.Resampling.BICUBIC, "crop"),
    "clip, odd": Framing((41, 56), 57, Image.Resampling.BILINEAR, "crop"),
    "clip, all of the short side": Framing((33, 20), 33, Image.Resampling.BICUBIC, "crop"),
    "clip, not cut": None,
    "clip, stretched": Framing((31, 50), 50, Image.Resampling.BICUBIC, "stretch"),
    "siglip": Framing((224, 224), 224, Image.Resampling.BICUBIC, "stretch"),
    "siglip, odd": Framing((31, 50), 50, Image.Resampling.LANCZOS, "stretch"),
    "siglip, nearest": Framing((50, 31), 50, Image.Resampling.NEAREST, "stretch"),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_models_framing_is_that_of_its_processor(name: str) -> None:
    assert prepared_by(PROCESSORS[name]()).framing == FRAMINGS[name]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", [name for name, framing in FRAMINGS.items() if framing])
def test_framed_as_its_own_and_normalised_a_picture_is_as_by_transformers(name: str, size: tuple[int, int]) -> None:
    processor = PROCESSORS[name]()
    framing = FRAMINGS[name]
    assert framing
    picture = noise(*size)
    expected = processor(images=[picture], return_tensors="np")["pixel_values"][0]
    small = framing(picture, framing.own)
    assert small.size == framing.size[::-1]
    ours = prepared_by(processor).normalised(small)
    assert list(ours) == ["pixel_values"]
    np.testing.assert_array_equal(ours["pixel_values"], expected)
