"""A IIIF image and the shortest side that a model needs -> what to request of its server, the smallest first.

Source: IIIF Image API 2.1.1 and 3.0.0, their implementation notes and their documents on compliance. Version 1.1
differs in one word, and says what tiles there are in keys of its own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self
from urllib.parse import unquote

from service.errors import ImageFetchFailed
from service.iiif.document import Document, kind, objects, pixels, texts, uri
from service.images.fetch.fetcher import MAX_URL_CHARACTERS

_IMAGE = re.compile(
    r"(?P<base>https?://.+)"
    r"/(?P<region>full|square|(?:pct:)?[0-9.]+(?:,[0-9.]+){3})"
    r"/\^?(?:full|max|pct:[0-9.]+|!?[0-9]*,[0-9]*)"
    r"/(?P<rotation>!?[0-9.]+)"
    r"/(?P<quality>default|native|color|colour|gray|grey|bitonal)\.[A-Za-z0-9]+(?:\?.*)?",
    re.IGNORECASE,
)
_ASKED_INFORMATION = re.compile(r"/info\.json(?:\?[^/]*)?$")
# What contexts and profiles begin with; that of version 1 was at Stanford's library.
_VERSION = re.compile(r"https?://(?:iiif\.io/api/image|[a-z.-]{1,40}/iiif/image-api)/(?:([123])|compliance)")
_MOST_NAME = 200  # characters of what is searched for a version or a level
_LEVEL = re.compile(r"level([012])")
_PROTOCOL = re.compile(r"https?://iiif\.io/api/image/?")
_SERVICE = re.compile(r"ImageService([123]?)")
_NAMED_FORMATS = ("preferredFormats", "formats", "extraFormats")
_FORMATS = ("jpg", "png", "webp", "gif", "tif", "avif", "jp2")
# How many times the pixels of a size that is made one that is listed may have, which the server need not make.
_MUCH_LARGER = 4
_MOST_LISTED = 2  # how many listed sizes are requested one after another, where a server does not deliver the first
WHOLE = ("full/full", "full/max")
"""Region and size of all that a server gives of an image, in one version and the other."""

Size = tuple[int, int]

MOST_TILES = 64  # of one picture
_MOST_PIXELS = 8_000_000  # of the picture that they are put together to
_MOST_KINDS, _MOST_FACTORS = 16, 64  # of what a document names: sizes of tiles, and fractions of each
Box = tuple[int, int, int, int]  # left, top, width and height


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


@dataclass(frozen=True)
class ImageUri:
    """A URI in the form that the Image API gives to information and to images.

    base:  the image's base URI
    image: whether it names an image, rather than `info.json`
    own:   whether that image is a part, turned, or of another quality than the default
    """

    base: str
    image: bool
    own: bool

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a URI; None where it has neither form, which a base URI has not."""
        if len(text) > MAX_URL_CHARACTERS:
            return None
        text = text.partition("#")[0]
        if _ASKED_INFORMATION.search(text):
            return cls(base_uri(text), image=False, own=False)
        found = _IMAGE.fullmatch(text)
        if not found:
            return None
        plain = (found["region"], found["rotation"], found["quality"]) == ("full", "0", "default")
        return cls(found["base"], image=True, own=not plain)


def base_uri(text: str) -> str:
    """Return the base URI that is meant by itself, with a slash behind it, or by its info.json, with a query or not."""
    return _ASKED_INFORMATION.sub("", text.partition("#")[0]).rstrip("/")


def is_image_information(document: Document) -> bool:
    """Say whether a document describes an image, as `info.json` does."""
    return _version(document) is not None and ("width" in document or "height" in document)


def is_image_service(entry: Document) -> bool:
    """Say whether a `service` of a picture speaks the Image API, by its type or as version 2 has it."""
    return _version(entry) is not None


def url_of_part(service: Document, base: str, region: str, rotation: str) -> str | None:
    """Return the URL of a part of a service's image, as large as it is given; None where it is no part, nor turned."""
    version = _version(service) or 2
    size, quality = "max" if version >= 3 else "full", "native" if version == 1 else "default"
    url = f"{base}/{region or 'full'}/{size}/{rotation or '0'}/{quality}.jpg"
    parsed = ImageUri.parse(url)
    return url if parsed and parsed.own and parsed.base == base else None


@dataclass(frozen=True)
class ImageInformation:
    """What a server says of an image in its `info.json`.

    bases:      URIs below which sizes are requested: the one that it names, and the one where it was found
    version:    of the Image API: 1, 2 or 3
    width, height: of the image itself, in pixels; 0 where it does not say
    sizes:      widths and heights that it has at hand
    max_width, max_height, max_area: more is not given, in pixels
    scales:     whether it makes any other width
    format:     of the pictures that it has at hand: jpg, which all have to have, unless it names others alone
    document:   what else it says
    """

    bases: tuple[str, ...]
    version: int
    width: int
    height: int
    sizes: tuple[Size, ...]
    max_width: float
    max_height: float
    max_area: float
    scales: bool
    format: str
    document: Document

    @classmethod
    def read(cls, document: Document, requested: str) -> Self:
        """Read a document that was found under this base URI. Raises ImageFetchFailed where it describes no image."""
        version = _version(document)
        if version is None:
            raise ImageFetchFailed("The document is no IIIF image information that can be used.")
        width, height = pixels(document, "width"), pixels(document, "height")
        # Versions 1 and 2 keep what goes beyond a level in the profile itself.
        said = [document, *objects(document.get("profile"))]
        max_width = _least(said, "maxWidth")
        level = _LEVEL.search(next(texts(document.get("profile")), "")[:_MOST_NAME])
        features = {name for part in said for key in ("extraFeatures", "supports") for name in texts(part.get(key))}
        formats = [name for part in said for key in _NAMED_FORMATS for name in texts(part.get(key)) if name in _FORMATS]
        scales = (level is not None and level[1] != "0") or "sizeByW" in features
        sizes = [(pixels(size, "width"), pixels(size, "height")) for size in objects(document.get("sizes"))]
        return cls(
            tuple(dict.fromkeys((_base(document, requested), requested))),
            version,
            width if height else 0,
            height if width else 0,
            tuple((wide, high) for wide, high in sizes if wide and high),
            max_width or float("inf"),
            _least(said, "maxHeight") or max_width or float("inf"),
            _least(said, "maxArea") or float("inf"),
            scales=scales,
            format="jpg" if scales or not formats or "jpg" in formats else formats[0],
            document=document,
        )

    def requests(self, short_side: int) -> Iterator[str | TileGrid]:
        """Yield what may follow a base URI, best first: region and size of a picture, or a grid of tiles.

        The first is the smallest size whose shorter side has so many pixels, else the largest that is given. A size
        that is listed comes before one that has to be made, unless it is much larger; none is larger than the image.
        What follows is for servers that do not give what they say they do.
        """
        sizes = [*self._sizes(short_side)]
        grid = None
        if self.width:
            grid = smallest_grid(self.document, self.version, self.width, self.height, short_side)
        # Where nothing is made of it, the whole may be a hundred times what the tiles are that serve.
        tiles_first = grid is not None and grid.factor > 1 and not self.scales
        seen: set[str | TileGrid] = set()
        for request in (*sizes, grid if tiles_first else None, *self._whole(), grid):
            if request is not None and request not in seen:
                seen.add(request)
                yield request

    def url(self, base: str, region_and_size: str) -> str:
        """Return the URL of a picture below one of the bases."""
        return f"{base}/{region_and_size}/0/{'native' if self.version == 1 else 'default'}.{self.format}"

    def urls_of_tile(self, base: str, grid: TileGrid, box: Box) -> list[str]:
        """Return the URLs that a tile may have, in an order that is that of the grid's other tiles."""
        named = [self.url(base, form) for form in grid.forms(box)]
        if self.format != "jpg":
            return named
        # Trees of files may have another format and not say so. Each region is written canonically first.
        canonical = named[:: len(named) // 2] if grid.count == 1 else named[:1]
        return [*named, *(url.removesuffix("jpg") + other for other in ("png", "webp") for url in canonical)]

    def _sizes(self, short_side: int) -> Iterator[str]:
        """Yield the sizes that serve, each as its version has it, then as others do."""
        sizes = sorted((size for size in self.sizes if min(size) >= short_side and self._given(*size)), key=_area)
        sizes = sizes[:_MOST_LISTED]
        if self.scales and self.width:
            shorter = min(self.width, self.height)
            # Rounded up, for servers round the height that goes with a width down, or to the nearest.
            made = (-(-short_side * self.width // shorter), -(-short_side * self.height // shorter))
            if self._given(*made):
                listed_serves = sizes and _area(sizes[0]) <= _MUCH_LARGER * _area(made)
                sizes.insert(1 if listed_serves else 0, made)
        for spelt in (self._canonical, self._otherwise):
            for size in sizes:
                if size == (self.width, self.height):
                    yield from self._whole()
                else:
                    yield f"full/{spelt(size)}"

    def _canonical(self, size: Size) -> str:
        # Version 3 allows what version 2 prescribes, and servers make it in both; what is listed may be a file.
        return f"{size[0]},{size[1]}" if self.version >= 3 and size in self.sizes else f"{size[0]},"

    def _otherwise(self, size: Size) -> str:
        return f"{size[0]}," if self.version >= 3 and size in self.sizes else f"{size[0]},{size[1]}"

    def _whole(self) -> tuple[str, ...]:
        limited = self.width > 0 and not self._given(self.width, self.height)
        return WHOLE[::-1] if self.version >= 3 or limited else WHOLE

    def _given(self, width: int, height: int) -> bool:
        return (
            width <= min(self.width or width, self.max_width)
            and height <= min(self.height or height, self.max_height)
            and width * height <= self.max_area
        )


def _area(size: Size) -> int:
    return size[0] * size[1]


def _version(entry: Document) -> int | None:
    """Return the version of the Image API that an object speaks; None where it speaks none."""
    for named in (*texts(entry.get("@context")), *list(texts(entry.get("profile")))[:1]):
        if found := _VERSION.match(named[:_MOST_NAME]):
            return int(found[1] or 1)
        if _LEVEL.fullmatch(named[:_MOST_NAME]):
            return 3
    service = _SERVICE.fullmatch(kind(entry)[:_MOST_NAME])
    if service and service[1]:
        return int(service[1])
    protocol = next(texts(entry.get("protocol")), "")[:_MOST_NAME]
    if not service and not _PROTOCOL.fullmatch(protocol):
        return None
    return 3 if "id" in entry else 2


def _base(document: Document, requested: str) -> str:
    """Return the base URI that a document gives its image; of two spellings of the requested one, the longer.

    Many a server behind a proxy gives http for https. The longer spelling is the one whose slashes are %2F.
    """
    given = uri(document)
    if given is None:
        return requested
    given = base_uri(given)
    scheme, _, found = requested.partition("://")
    named = given.partition("://")[2]
    return f"{scheme}://{max(found, named, key=len)}" if unquote(found) == unquote(named) else given


def _least(said: list[Document], key: str) -> int:
    """Return the least that is said of a limit, 0 where nothing is."""
    return min((number for part in said if (number := pixels(part, key))), default=0)
