"""The tiles that a server has of an image, and a model's shortest side -> the grid of them that serves it.

Source: IIIF Image API 2.1.1 and 3.0.0, "tiles" and their implementation notes; version 1.1 says it in keys of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from service.iiif.document import Document, objects, pixels

MOST_TILES = 64
"""Of one picture."""

_MOST_PIXELS = 8_000_000
"""Of the picture that they are put together to."""

_MOST_KINDS, _MOST_FACTORS = 16, 64
"""Of what a document names: sizes of tiles, and fractions of each."""

Box = tuple[int, int, int, int]
"""Left, top, width and height."""


@dataclass(frozen=True)
class TileGrid:
    """A picture in tiles, each of which its server gives at the same fraction of its size.

    version:       of the Image API
    width, height: of the image itself, in pixels
    tile:          width and height of a tile as it is sent
    factor:        how many of the image's pixels make one, in a row
    """

    version: int
    width: int
    height: int
    tile: tuple[int, int]
    factor: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture that the tiles make."""
        return -(-self.width // self.factor), -(-self.height // self.factor)

    @property
    def count(self) -> int:
        """How many tiles it has."""
        (width, height), (wide, high) = self.size, self.tile
        return -(-width // wide) * -(-height // high)

    def boxes(self) -> Iterator[Box]:
        """Yield where each tile is in the picture that they make, row by row; the last ones of a row may be smaller."""
        (width, height), (wide, high) = self.size, self.tile
        for top in range(0, height, high):
            for left in range(0, width, wide):
                yield left, top, min(wide, width - left), min(high, height - top)

    def forms(self, box: Box) -> tuple[str, ...]:
        """Return how region and size of a tile are written: canonically, then in ways that trees of files have.

        Each place among these has one way of writing for all tiles of a grid.
        """
        left, top, wide, high = box
        x, y = left * self.factor, top * self.factor
        region = f"{x},{y},{min(wide * self.factor, self.width - x)},{min(high * self.factor, self.height - y)}"
        regions = ("full", region) if (wide, high) == self.size else (region,)
        by_width, by_both = f"{wide},", f"{wide},{high}"
        sizes = (by_both, by_width) if self.version >= 3 else (by_width, by_both)
        whole = ("max" if self.version >= 3 else "full",) if self.factor == 1 else ()
        return tuple(f"{region}/{size}" for region in regions for size in (*sizes, *whole))


def smallest_grid(document: Document, version: int, width: int, height: int, short_side: int) -> TileGrid | None:
    """Return the grid of the smallest picture whose shorter side has so many pixels, else of the largest one.

    Of two that make the same picture, the one of fewer tiles. None where the image has no tiles, or takes more of them,
    or more pixels, than are put together.
    """
    grids = [
        TileGrid(version, width, height, tile, factor) for tile, factors in _tiles(document) for factor in set(factors)
    ]
    serving = [grid for grid in grids if min(grid.size) >= short_side]
    best = min(
        serving or grids, key=lambda grid: (grid.factor if not serving else -grid.factor, grid.count), default=None
    )
    if best is None or best.count > MOST_TILES or best.size[0] * best.size[1] > _MOST_PIXELS:
        return None
    return best


def _tiles(document: Document) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Yield width and height of the tiles that a document names, and the fractions at which they are given.

    libvips names no fraction of an image that is no larger than a tile.
    """
    first = {"width": "tile_width", "height": "tile_height", "scaleFactors": "scale_factors"}
    of_version_1 = {key: document.get(name) for key, name in first.items()}
    for entry in (*islice(objects(document.get("tiles")), _MOST_KINDS), of_version_1):
        wide, high = pixels(entry, "width"), pixels(entry, "height")
        factors = entry.get("scaleFactors")
        listed = [
            pixels({"factor": factor}, "factor")
            for factor in (factors[:_MOST_FACTORS] if isinstance(factors, list) else ())
        ]
        if wide or high:
            yield (wide or high, high or wide), list(filter(None, listed)) if factors else [1]
