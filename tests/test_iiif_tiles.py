"""Which tiles of an image serve a model, where they are in it, and how their addresses are written."""

from typing import Any

import pytest

from service.iiif.tiles import MOST_TILES, TileGrid, smallest_grid

SIZE = (6000, 4000)


def tiles(*factors: Any, **more: Any) -> dict[str, Any]:
    return {"tiles": [{"width": 512, "scaleFactors": list(factors), **more}]}


def grid(document: dict[str, Any], short_side: int = 224, size: tuple[int, int] = SIZE) -> TileGrid | None:
    return smallest_grid(document, 3, *size, short_side)


@pytest.mark.parametrize(
    ("short_side", "factor", "count"),
    [(100, 32, 1), (125, 32, 1), (126, 16, 1), (224, 16, 1), (500, 8, 2), (501, 4, 6)],
)
def test_the_smallest_picture_that_serves_is_put_together(short_side: int, factor: int, count: int) -> None:
    found = grid(tiles(1, 2, 4, 8, 16, 32), short_side)
    assert found
    assert (found.factor, found.count) == (factor, count)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (tiles(16, height=128), ((512, 128), 16)),
        (tiles("16", 0, -4, None, 1.5, "a", 2**40), ((512, 512), 16)),
        ({"tiles": {"width": "512", "scaleFactors": [16]}}, ((512, 512), 16)),
        ({"tiles": [{"height": 512, "scaleFactors": [16]}]}, ((512, 512), 16)),
        ({"tiles": [{"width": 100, "scaleFactors": [16]}, {"width": 300, "scaleFactors": [16]}]}, ((300, 300), 16)),
        ({"tile_width": 256, "tile_height": 128, "scale_factors": [1, 16]}, ((256, 128), 16)),
        (tiles(32, 64), ((512, 512), 32)),
        ({"tiles": [{"width": 6000, "height": 1000}]}, ((6000, 1000), 1)),
        ({"tiles": [{"width": 6000, "height": 1000, "scaleFactors": []}]}, ((6000, 1000), 1)),
    ],
)
def test_tiles_however_they_are_told(document: dict[str, Any], found: tuple[tuple[int, int], int]) -> None:
    size = (6000, 1000) if found[1] == 1 else SIZE
    best = grid(document, size=size)
    assert best
    assert (best.tile, best.factor) == found


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"tiles": None},
        {"tiles": ["a", 7, None, []]},
        {"tiles": [{"width": 512}, {"scaleFactors": [16]}, {"width": 0, "scaleFactors": [1]}]},
        {"tiles": [{"width": 512, "scaleFactors": "16"}, {"width": 512, "scaleFactors": {}}]},
        {"tile_width": 256},
        {"tiles": [{"width": 1, "scaleFactors": [16]}]},
        tiles(1),
    ],
)
def test_no_tiles_that_can_be_put_together(document: dict[str, Any]) -> None:
    assert grid(document) is None


def test_neither_tiles_nor_pixels_are_more_than_are_put_together() -> None:
    for side in range(1, 600):
        found = smallest_grid({"tiles": [{"width": side, "scaleFactors": [1]}]}, 3, 2000, 3000, 224)
        assert (found is None) is (-(-2000 // side) * -(-3000 // side) > MOST_TILES)
    assert smallest_grid({"tiles": [{"width": 2**30, "scaleFactors": [1]}]}, 3, 4000, 2000, 224)
    assert smallest_grid({"tiles": [{"width": 2**30, "scaleFactors": [1]}]}, 3, 4000, 2001, 224) is None


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8, 7])
@pytest.mark.parametrize("size", [(1000, 700), (1024, 512), (1025, 513), (7, 900)])
def test_tiles_cover_the_image_once(size: tuple[int, int], factor: int) -> None:
    found = TileGrid(3, *size, (256, 128), factor)
    boxes = list(found.boxes())
    assert len(boxes) == found.count
    assert sum(wide * high for _, _, wide, high in boxes) == found.size[0] * found.size[1]
    covered = 0
    for box in boxes:
        region, size_asked = found.forms(box)[-2 if factor > 1 else -3].split("/")
        x, y, wide, high = map(int, region.split(","))
        assert (x, y) == (box[0] * factor, box[1] * factor)
        # As the specification's notes have it: rounded up.
        assert size_asked == f"{-(-wide // factor)},{-(-high // factor)}"
        covered += wide * high
    assert covered == size[0] * size[1]


@pytest.mark.parametrize(
    ("version", "factor", "box", "forms"),
    [
        (2, 4, (0, 0, 256, 256), ("0,0,1024,1024/256,", "0,0,1024,1024/256,256")),
        (3, 4, (0, 0, 256, 256), ("0,0,1024,1024/256,256", "0,0,1024,1024/256,")),
        (3, 4, (256, 256, 244, 119), ("1024,1024,976,476/244,119", "1024,1024,976,476/244,")),
        (2, 1, (0, 0, 256, 256), ("0,0,256,256/256,", "0,0,256,256/256,256", "0,0,256,256/full")),
        (3, 1, (0, 0, 256, 256), ("0,0,256,256/256,256", "0,0,256,256/256,", "0,0,256,256/max")),
        (
            2,
            8,
            (0, 0, 250, 188),
            ("full/250,", "full/250,188", "0,0,2000,1500/250,", "0,0,2000,1500/250,188"),
        ),
        (
            3,
            8,
            (0, 0, 250, 188),
            ("full/250,188", "full/250,", "0,0,2000,1500/250,188", "0,0,2000,1500/250,"),
        ),
    ],
)
def test_how_a_tile_is_asked_for(version: int, factor: int, box: tuple[int, int, int, int], forms: tuple[str]) -> None:
    assert TileGrid(version, 2000, 1500, (256, 256), factor).forms(box) == forms
