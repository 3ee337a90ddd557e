"""A IIIF image and the shortest side that a model needs -> the URL of the smallest size of it that its server gives.

Source: IIIF Image API 2.1.1 and 3.0.0, and their documents on compliance. Version 1.1 differs in one word.
"""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from service.errors import ImageFetchFailed
from service.iiif.document import Document, kind, objects, texts, uri
from service.images.fetch import MAX_URL_CHARACTERS

_INFORMATION = "/info.json"
_IMAGE = re.compile(
    r"(?P<base>https?://.+)"
    r"/(?P<region>full|square|(?:pct:)?[0-9.]+(?:,[0-9.]+){3})"
    r"/\^?(?:full|max|pct:[0-9.]+|!?[0-9]*,[0-9]*)"
    r"/(?P<rotation>!?[0-9.]+)"
    r"/(?P<quality>default|native|color|colour|gray|grey|bitonal)\.[A-Za-z0-9]+",
    re.IGNORECASE,
)
# What contexts and profiles begin with; that of version 1 was at Stanford's library.
_VERSION = re.compile(r"https?://(?:iiif\.io/api/image|[a-z.-]{1,40}/iiif/image-api)/([123])")
_MOST_NAME = 200  # characters of what is searched for a version or a level
_LEVEL = re.compile(r"level([012])")
_PROTOCOL = "http://iiif.io/api/image"
_MOST_PIXELS_A_SIDE = 2**31
_MUCH_LARGER = 4
"""How many times the pixels of a size that is made one that is listed may have, which the server need not make."""

Size = tuple[int, int]


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
        if text.endswith(_INFORMATION):
            return cls(base_uri(text), image=False, own=False)
        found = _IMAGE.fullmatch(text)
        if not found:
            return None
        plain = (found["region"], found["rotation"], found["quality"]) == ("full", "0", "default")
        return cls(found["base"], image=True, own=not plain)


def base_uri(text: str) -> str:
    """Return the base URI that is meant by itself, with a slash behind it, or by its info.json."""
    return text.partition("#")[0].removesuffix(_INFORMATION).rstrip("/")


def is_image_information(document: Document) -> bool:
    """Say whether a document describes an image, as `info.json` does."""
    return _version(document) is not None and "width" in document and "height" in document


def is_image_service(entry: Document) -> bool:
    """Say whether a `service` of a picture speaks the Image API, by its type or as version 2 has it."""
    profile = next(texts(entry.get("profile")), "")
    return (
        kind(entry).startswith("ImageService")
        or _version(entry) is not None
        or bool(_VERSION.match(profile[:_MOST_NAME]))
    )


@dataclass(frozen=True)
class ImageInformation:
    """What a server says of an image in its `info.json`.

    base:       the URI that sizes are asked for under
    version:    of the Image API: 1, 2 or 3
    width, height: of the image itself, in pixels
    sizes:      widths and heights that it has at hand
    max_width, max_height, max_area: more is not given, in pixels
    scales:     whether it makes any other width
    """

    base: str
    version: int
    width: int
    height: int
    sizes: tuple[Size, ...]
    max_width: int
    max_height: int
    max_area: int
    scales: bool

    @classmethod
    def read(cls, document: Document, asked: str) -> Self:
        """Read a document that was found under this base URI. Raises ImageFetchFailed where it describes no image."""
        version = _version(document)
        width, height = _pixels(document, "width"), _pixels(document, "height")
        if version is None or not width or not height:
            raise ImageFetchFailed("The document is no IIIF image information that can be used.")
        # Versions 1 and 2 keep what goes beyond a level in the profile itself.
        said = [document, *objects(document.get("profile"))]
        max_width = _least(said, "maxWidth")
        level = _LEVEL.search(next(texts(document.get("profile")), "")[:_MOST_NAME])
        features = {name for part in said for key in ("extraFeatures", "supports") for name in texts(part.get(key))}
        sizes = [(_pixels(size, "width"), _pixels(size, "height")) for size in objects(document.get("sizes"))]
        return cls(
            _base(document, asked),
            version,
            width,
            height,
            tuple((wide, high) for wide, high in sizes if wide and high),
            max_width or width,
            _least(said, "maxHeight") or max_width or height,
            _least(said, "maxArea") or width * height,
            scales=(level is not None and level[1] != "0") or "sizeByW" in features,
        )

    def url(self, short_side: int) -> str:
        """Return the URL of the smallest size whose shorter side has so many pixels, else of the largest that is given.

        A size that is listed comes before one that has to be made, unless it is much larger; none is larger than the
        image itself.
        """
        quality = "native" if self.version == 1 else "default"
        return f"{self.base}/full/{self._size(short_side)}/0/{quality}.jpg"

    def _size(self, short_side: int) -> str:
        whole = "max" if self.version >= 3 or not self._given(self.width, self.height) else "full"
        shorter = min(self.width, self.height)
        listed = [size for size in self.sizes if min(size) >= short_side and self._given(*size)]
        # Rounded up, for servers round the height that goes with a width down, or to the nearest.
        made = (-(-short_side * self.width // shorter), -(-short_side * self.height // shorter))
        size = min(listed, key=_area) if listed else None
        can_make = self.scales and self._given(*made)
        if can_make and (size is None or _area(size) > _MUCH_LARGER * _area(made)):
            return whole if made == (self.width, self.height) else f"{made[0]},"
        if size is None or size == (self.width, self.height):
            return whole
        return f"{size[0]},{size[1]}" if self.version >= 3 else f"{size[0]},"

    def _given(self, width: int, height: int) -> bool:
        return (
            width <= min(self.width, self.max_width)
            and height <= min(self.height, self.max_height)
            and width * height <= self.max_area
        )


def _area(size: Size) -> int:
    return size[0] * size[1]


def _version(entry: Document) -> int | None:
    """Return the version of the Image API that an object speaks; None where it speaks none."""
    for context in texts(entry.get("@context")):
        if found := _VERSION.match(context[:_MOST_NAME]):
            return int(found[1])
    if entry.get("protocol") != _PROTOCOL and not kind(entry).startswith("ImageService"):
        return None
    return 3 if "id" in entry else 2


def _base(document: Document, asked: str) -> str:
    """Return the base URI that a document gives its image; where it is the one asked for, spelt otherwise, that one.

    Many a server behind a proxy gives http for https. The longer spelling is the one whose slashes are %2F.
    """
    given = uri(document)
    if given is None:
        return asked
    given = base_uri(given)
    scheme, _, found = asked.partition("://")
    named = given.partition("://")[2]
    return f"{scheme}://{max(found, named, key=len)}" if unquote(found) == unquote(named) else given


def _pixels(entry: Document, key: str) -> int:
    """Return a number of pixels, 0 where there is none that can be."""
    value = entry.get(key)
    return value if type(value) is int and 0 < value < _MOST_PIXELS_A_SIDE else 0


def _least(said: list[Document], key: str) -> int:
    """Return the least that is said of a limit, 0 where nothing is."""
    return min((pixels for part in said if (pixels := _pixels(part, key))), default=0)
