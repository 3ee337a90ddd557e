"""A picture in tiles -> what the model takes of it: each tile is decoded as any picture is, and put in its place."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image

from service.errors import ImageDimensions, UndecodableImage
from service.images.decode import MAX_ASPECT_RATIO
from service.images.isolation.decoder import Decoder, Inputs, Prepare, PreparedImage

_MOST_OFF = 1
"""Pixels of a side that a tile may have more or less than was asked for: servers round in several ways."""


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

    def prepared(
        self, decoder: Decoder, prepare: Prepare, cores: int = 1, require: Callable[[], object] = lambda: None
    ) -> PreparedImage:
        """Return what `prepare` makes of the whole picture; its SHA-256 is that of the tiles' bytes one after another.

        require: raises where nobody waits any more; asked before each tile
        Raises what Decoder.slot and Decode do, ImageDimensions, and UndecodableImage where a tile has another size.
        """
        if max(self.width, self.height) > MAX_ASPECT_RATIO * min(self.width, self.height):
            raise ImageDimensions(f"The image's long side may be at most {MAX_ASPECT_RATIO} times its short side.")
        if self.width * self.height > decoder.max_pixels:
            raise ImageDimensions(f"The image must have 1 to {decoder.max_pixels} pixels.")
        whole = Image.new("RGB", (self.width, self.height))
        sha256 = hashlib.sha256()
        warnings: dict[str, None] = {}
        last = self.tiles[-1]
        for tile in self.tiles:

            def put_in_place(image: Image.Image, cores: int = 1, tile: Tile = tile) -> Inputs:
                whole.paste(_fitted(image, tile.box[2:]), tile.box[:2])
                # Within the slot of the last one, so that no more pictures are prepared at a time than may be.
                return prepare(whole, cores=cores) if tile is last else {}

            require()
            sha256.update(tile.encoded)
            with decoder.slot(tile.encoded) as decode:
                part = decode(put_in_place, None, cores)
            warnings |= dict.fromkeys(part.warnings)
        return replace(
            part,
            width=self.width,
            height=self.height,
            sha256=sha256.hexdigest(),
            decoded_at=None,
            warnings=tuple(warnings),
        )


def _fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    if any(abs(has - wants) > _MOST_OFF for has, wants in zip(image.size, size, strict=True)):
        raise UndecodableImage("A tile of the image has another size than was asked for.")
    return image.resize(size, Image.Resampling.BICUBIC)
