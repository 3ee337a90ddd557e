"""A picture of 100 megapixels on real servers: whatever URI names it, the same few bytes are fetched.

Servers: a static level 0 tree of each version, and Debian's iipimage-server.
"""

import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.iiif.document import IiifBudget
from service.iiif.presentation import Canvas
from service.iiif.reader import IiifReader
from service.images.decode import ImageLimits
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FetchLimits, ImageFetcher
from service.images.isolation.decoder import Decoder
from service.images.loader import ImageLoader, TiledImage
from tests.conftest import noise
from tests.support.iiif_server import PROGRAM, image_server
from tests.support.iiif_tree import StaticHost, level_0
from tests.support.origin import Origin, http

SIDE = 10_000
SHORT_SIDE = 224
MOST_PART = 0.05
FORMS = ("", "/", "/info.json", "/full/max/0/default.jpg", "/full/full/0/default.jpg", "/full/512,/0/default.png")


@dataclass(frozen=True)
class Served:
    """An image on a server that counts.

    base:    its base URI
    fetched: gives the bytes of all bodies that were sent so far
    """

    base: str
    fetched: Callable[[], int]


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of 100 megapixels with detail of every size, as photographs have it."""
    random = np.random.default_rng(6)
    side = SIDE // 8
    total = np.zeros((side, side, 3), np.float32)
    for cells in (2, 8, 32, 128, 512, side):
        noise = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC), np.float32) - 128
    tile = np.clip(128 + total / 2, 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("photograph") / "photograph.jpg"
    Image.fromarray(np.tile(tile, (8, 8, 1))).save(path, quality=75)
    return path


@pytest.fixture(scope="module")
def pyramid(photograph: Path) -> Path:
    """A folder with the picture in the form that image servers keep: a pyramid of tiles."""
    missing = [program for program in (str(PROGRAM), "vips") if not shutil.which(program)]
    if missing and not os.environ.get("CI"):
        pytest.skip("not installed: apt-get install --no-install-recommends iipimage-server libvips-tools")
    assert not missing
    folder = photograph.parent
    subprocess.run(
        ["vips", "tiffsave", photograph, folder / "a.tif", "--tile", "--pyramid", "--compression=jpeg"],
        check=True,
    )
    return folder


@contextmanager
def static_tree(photograph: Path, version: int) -> Iterator[Served]:
    host = StaticHost()
    with Origin(host) as origin:
        base = f"http://{origin.address}/iiif/prints%2Fa"
        for path, content in level_0(photograph.read_bytes(), version, base, (156, 312, 625, 1250)).items():
            host[f"/iiif/prints%2Fa{path}"] = http(content)

        def fetched() -> int:
            answers = [host[request.split(" ")[1]] for request in origin.requests]
            return sum(len(answer) for answer in answers if isinstance(answer, bytes))

        yield Served(base, fetched)


@contextmanager
def iipimage(folder: Path, version: int) -> Iterator[Served]:
    with image_server(folder) as server:
        # With no %2F in it, which iipsrv 1.1 reads as a slash, and as a format of printf where it writes the id.
        base = f"http://{server.address}/iiif/{version}/a.tif"
        yield Served(base, lambda: sum(length for _, length in server.sent))


def bytes_of(picture: bytes | TiledImage) -> bytes:
    """Return a picture that did not come in tiles."""
    assert isinstance(picture, bytes)
    return picture


def told_the_same(serving: AbstractContextManager[Served], whole: int, size: tuple[int, int]) -> None:
    """Look at the picture through every URI that names it, and count what that takes."""
    fetcher = ImageFetcher(FetchPolicy.parse("127.0.0.0/8"), FetchLimits(20_000_000, 30))
    reader = IiifReader(fetcher, IiifBudget(1_000, 1_000_000, 100_000))
    pictures: list[bytes] = []
    with serving as served:
        for behind in FORMS:
            before = served.fetched()
            [canvas] = reader.pictures(served.base + behind)
            assert isinstance(canvas, Canvas)
            pictures.append(bytes_of(reader.fetch_image(canvas, SHORT_SIDE)))
            part = (served.fetched() - before) / whole
            assert 0 < part < MOST_PART
            assert reader.fetch_image(served.base + behind, SHORT_SIDE) == pictures[-1]
    assert set(pictures) == {pictures[0]}
    assert Image.open(io.BytesIO(pictures[0])).size == size


@pytest.mark.parametrize("version", [2, 3])
def test_a_static_tree_of_level_0(photograph: Path, version: int) -> None:
    told_the_same(static_tree(photograph, version), photograph.stat().st_size, (312, 312))


@pytest.mark.parametrize("version", [2, 3])
def test_iipimage(photograph: Path, pyramid: Path, version: int) -> None:
    told_the_same(iipimage(pyramid, version), photograph.stat().st_size, (312, 312))


@pytest.mark.parametrize("suffix", [".jpg[Q=95]", ".png", ".webp[lossless]"])
@pytest.mark.parametrize(("layout", "whole"), [("iiif", False), ("iiif3", False), ("iiif", True), ("iiif3", True)])
def test_a_tree_of_tiles_that_libvips_made(tmp_path: Path, layout: str, whole: bool, suffix: str) -> None:
    """It has no sizes, and no picture as a whole, and its last tiles are smaller than the others."""
    if not shutil.which("vips") and not os.environ.get("CI"):
        pytest.skip("not installed: apt-get install --no-install-recommends libvips-tools")
    picture = noise(2000, 1500).resize((250, 188)).resize((2000, 1500), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "a.png")
    host = StaticHost()
    with Origin(host) as origin:
        base = f"http://{origin.address}/iiif"
        tile = 2048 if whole else 256
        options = ["--layout", layout, "--tile-size", f"{tile}", "--id", base, "--suffix", suffix]
        subprocess.run(["vips", "dzsave", tmp_path / "a.png", tmp_path / "tree", *options], check=True)
        for file in (tmp_path / "tree").rglob("*.*"):
            host[f"/iiif/tree/{file.relative_to(tmp_path / 'tree')}"] = http(file.read_bytes())
        fetcher = ImageFetcher(FetchPolicy.parse("127.0.0.0/8"), FetchLimits(20_000_000, 30))
        found = IiifReader(fetcher, IiifBudget(9, 1_000_000, 9_000)).fetch_image(f"{base}/tree", SHORT_SIDE)
    assert isinstance(found, TiledImage)
    assert len(found.tiles) == (1 if whole else 4)
    assert (found.width, found.height) == ((2000, 1500) if whole else (500, 375))
    loader = ImageLoader(fetcher, Decoder(ImageLimits(10_000_000, 10_000_000), 2))
    joined = loader.load(found, lambda image, **_: {"rgb": np.asarray(image)}).inputs["rgb"]
    loader.decoder.close()
    expected = np.asarray(picture.resize((found.width, found.height), Image.Resampling.BOX))
    assert np.abs(joined.astype(int) - expected).max() < 40
    assert np.abs(joined.astype(int) - expected).mean() < 2


def test_iipimage_makes_the_size_that_its_pyramid_lacks(pyramid: Path) -> None:
    fetcher = ImageFetcher(FetchPolicy.parse("127.0.0.0/8"), FetchLimits(20_000_000, 30))
    with iipimage(pyramid, 2) as served:
        reader = IiifReader(fetcher, IiifBudget(1_000, 1_000_000, 100_000))
        picture = bytes_of(reader.fetch_image(served.base, 3000))
        assert picture == fetcher.fetch(f"{served.base}/full/3000,/0/default.jpg")
        assert Image.open(io.BytesIO(picture)).size == (3000, 3000)
