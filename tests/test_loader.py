"""Pictures in tiles: put together they are the picture, and each is decoded under the limits that any picture has."""

import hashlib
import io
from collections.abc import Iterator

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fuzz.bombs import white_png
from service.errors import CallerGone, GazeError, ImageDimensions, UndecodableImage, UnsupportedImageFormat
from service.images.decode import ImageLimits
from service.images.fetch.addresses import FetchPolicy
from service.images.loader import ImageLoader, Tile, TiledImage
from tests.conftest import encoded, noise

Box = tuple[int, int, int, int]
BOXES: list[Box] = [(0, 0, 60, 50), (60, 0, 40, 50), (0, 50, 60, 20), (60, 50, 40, 20)]
WHOLE = noise(100, 70)


@pytest.fixture(scope="module")
def loader() -> Iterator[ImageLoader]:
    loader = ImageLoader.create(ImageLimits(1_000_000, 8_000), FetchPolicy.parse("off"), 2, fast=False)
    yield loader
    loader.decoder.close()


def cut(box: Box) -> Image.Image:
    left, top, width, height = box
    return WHOLE.crop((left, top, left + width, top + height))


def tiled(*tiles: bytes, format: str = "PNG") -> TiledImage:  # noqa: A002  # as Pillow names it
    """Return the picture in these tiles, and what they lack in its own."""
    own = [encoded(cut(box), format) for box in BOXES[len(tiles) :]]
    return TiledImage(100, 70, tuple(Tile(*each) for each in zip((*tiles, *own), BOXES, strict=True)))


def samples(image: Image.Image, cores: int = 1) -> dict[str, NDArray[np.uint8]]:
    return {"rgb": np.asarray(image)}


@pytest.mark.parametrize("format", ["PNG", "WEBP"], ids=["decoded here", "decoded in a process of its own"])
def test_tiles_make_the_picture(loader: ImageLoader, format: str) -> None:  # noqa: A002  # as Pillow names it
    seen: list[tuple[int, int]] = []

    def here(image: Image.Image, cores: int = 1) -> dict[str, NDArray[np.uint8]]:
        seen.append(image.size)
        return samples(image)

    for prepare in (samples, here):
        image = loader.load(tiled(format=format), prepare)
        assert (image.width, image.height, image.format) == (100, 70, format)
        if format == "PNG":
            assert np.array_equal(image.inputs["rgb"], np.asarray(WHOLE))
        else:
            assert np.abs(image.inputs["rgb"].astype(int) - np.asarray(WHOLE)).mean() < 30
    assert seen == [(100, 70)]


def test_the_hash_is_that_of_the_tiles_one_after_another(loader: ImageLoader) -> None:
    image = tiled()
    together = b"".join(tile.encoded for tile in image.tiles)
    assert loader.load(image, samples).sha256 == hashlib.sha256(together).hexdigest()
    assert len(image) == len(together)


def test_what_a_decoder_warns_of_a_tile_is_said_of_the_picture(loader: ImageLoader) -> None:
    dark = np.full((50, 60), 900, np.uint16)
    written = io.BytesIO()
    tifffile.imwrite(written, dark, photometric="minisblack")
    alone = loader.load(TiledImage(60, 50, (Tile(written.getvalue(), (0, 0, 60, 50)),)), samples)
    assert alone.warnings
    assert loader.load(tiled(written.getvalue()), samples).warnings == alone.warnings


@pytest.mark.parametrize("size", [(59, 50), (61, 49), (60, 51)])
def test_a_tile_that_was_rounded_otherwise_is_fitted(loader: ImageLoader, size: tuple[int, int]) -> None:
    other = encoded(Image.new("RGB", size, (255, 0, 0)), "PNG")
    joined = loader.load(tiled(other), samples).inputs["rgb"]
    assert (joined[:50, :60] == (255, 0, 0)).all()
    assert np.array_equal(joined[50:], np.asarray(WHOLE)[50:])
    assert np.array_equal(joined[:, 60:], np.asarray(WHOLE)[:, 60:])


@pytest.mark.parametrize(
    ("tile", "error"),
    [
        (encoded(noise(62, 50), "PNG"), UndecodableImage),
        (encoded(noise(60, 48), "PNG"), UndecodableImage),
        (encoded(WHOLE, "PNG"), UndecodableImage),
        (encoded(noise(60, 50), "PNG")[:2000], UndecodableImage),
        (b"<svg/>", UnsupportedImageFormat),
        (white_png(13_400, 13_200), ImageDimensions),
        (white_png(8_001, 1), ImageDimensions),
    ],
    ids=["wider", "lower", "the whole", "cut", "text", "a bomb", "over the limit"],
)
def test_a_tile_that_is_none(loader: ImageLoader, tile: bytes, error: type[GazeError]) -> None:
    with pytest.raises(error):
        loader.load(tiled(tile), samples)


@pytest.mark.parametrize(("width", "height"), [(101, 80), (1, 101), (2_000, 19)])
def test_limits_are_those_of_the_whole_as_well(loader: ImageLoader, width: int, height: int) -> None:
    image = TiledImage(width, height, (Tile(encoded(noise(20, 20), "PNG"), (0, 0, 20, 20)),))
    with pytest.raises(ImageDimensions):
        loader.load(image, samples)


def test_nobody_who_waits_no_more_has_tiles_decoded(loader: ImageLoader) -> None:
    asked: list[str] = []

    def check() -> None:
        asked.append("asked")
        if len(asked) == 3:
            raise CallerGone

    image = tiled(encoded(cut(BOXES[0]), "PNG"), encoded(cut(BOXES[1]), "PNG"), b"never decoded")
    with pytest.raises(CallerGone):
        loader.load(image, samples, check=check)
