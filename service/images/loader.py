"""ImageLoader: a file, a URL, or the tiles of an image -> what the model takes of it, within the service's limits."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from PIL import Image

from service.errors import UndecodableImage
from service.images.decode import ImageLimits, Inputs, Prepare, PreparedImage
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FETCH_SECONDS, FetchLimits, ImageFetcher
from service.images.isolation.decoder import Decoder
from service.images.picture import check_dimensions

# Pixels of a side that a tile may have more or less than was requested: servers round in several ways.
_TILE_TOLERANCE = 1


@dataclass(frozen=True)
class Tile:
    """The bytes of a tile, and where it is in the picture: left, top, width and height."""

    encoded: bytes
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class TiledImage:
    """A picture of this size in tiles that cover it, row by row; its length is that of all their bytes."""

    width: int
    height: int
    tiles: tuple[Tile, ...]

    def __len__(self) -> int:
        return sum(len(tile.encoded) for tile in self.tiles)


EncodedImage = bytes | TiledImage


@dataclass(frozen=True)
class ImageLoader:
    """Loads one image a call, from any thread.

    fast: whether a JPEG or a TIFF within the limits may be decoded at a fraction of its size too
    """

    fetcher: ImageFetcher
    decoder: Decoder
    fast: bool = False

    @classmethod
    def create(cls, limits: ImageLimits, policy: FetchPolicy, slots: int, *, fast: bool) -> Self:
        """Return a loader that fetches as a policy allows, and decodes so many images at a time."""
        fetcher = ImageFetcher(policy, FetchLimits(limits.max_bytes, FETCH_SECONDS))
        return cls(fetcher, Decoder(limits, slots), fast)

    def read(self, source: Path | str, deadline: float = float("inf")) -> bytes:
        """Return the bytes of a file, of a larger one as many as prove that it is too large, or those behind a URL.

        deadline: of fetching, on time.monotonic()'s clock
        Raises OSError for a file, for a URL what ImageFetcher.fetch raises.
        """
        if isinstance(source, str):
            return self.fetcher.fetch(source, deadline)
        with source.open("rb") as file:
            return file.read(self.decoder.limits.max_bytes + 1)

    def load(
        self,
        encoded: EncodedImage,
        prepare: Prepare,
        min_short_side: int | None = None,
        cores: int = 1,
        *,
        exact: bool = False,
        check: Callable[[], object] = lambda: None,
        timing: AbstractContextManager[None] | None = None,
    ) -> PreparedImage:
        """Return what `prepare` makes of one picture; the SHA-256 of tiles is that of their bytes in a row.

        min_short_side: as decode() has it; an image in tiles has been reduced by its server
        cores:          how many may be used
        exact:          whether no picture within the limits is decoded at a fraction of its size
        check:          raises where the request is cancelled; called before each decoding
        timing:         entered once decoding begins, and left when it ends
        Raises what Decoder.slot and Decode do, and for a tile of another size UndecodableImage.
        """
        timing = timing or nullcontext()
        if isinstance(encoded, TiledImage):
            with timing:
                return self._load_tiles(encoded, prepare, cores, check)
        with self.decoder.slot(encoded) as decode, timing:
            check()
            return decode(prepare, min_short_side, cores, fast=self.fast and not exact)

    def _load_tiles(
        self, image: TiledImage, prepare: Prepare, cores: int, check: Callable[[], object]
    ) -> PreparedImage:
        check_dimensions((image.width, image.height), self.decoder.limits.max_pixels)
        whole = Image.new("RGB", (image.width, image.height))
        sha256 = hashlib.sha256()
        warnings: dict[str, None] = {}
        last = image.tiles[-1]
        for tile in image.tiles:

            def paste(decoded: Image.Image, cores: int = 1, tile: Tile = tile) -> Inputs:
                whole.paste(_fitted(decoded, tile.box[2:]), tile.box[:2])
                # Within the slot of the last one, so that no more pictures are prepared at a time than may be.
                return prepare(whole, cores=cores) if tile is last else {}

            check()
            sha256.update(tile.encoded)
            with self.decoder.slot(tile.encoded) as decode:
                part = decode(paste, None, cores)
            warnings |= dict.fromkeys(part.warnings)
        return replace(
            part,
            width=image.width,
            height=image.height,
            sha256=sha256.hexdigest(),
            decoded_at=None,
            warnings=tuple(warnings),
        )


def _fitted(tile: Image.Image, size: tuple[int, int]) -> Image.Image:
    if tile.size == size:
        return tile
    if any(abs(actual - expected) > _TILE_TOLERANCE for actual, expected in zip(tile.size, size, strict=True)):
        raise UndecodableImage("A tile of the image has another size than was asked for.")
    return tile.resize(size, Image.Resampling.BICUBIC)
