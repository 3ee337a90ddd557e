"""What a picture format is: how its files begin, and a Picture that is opened, measured and decoded.

A format has a module here, which ends with its Format, and a line in decode.py's FORMATS.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from PIL import ExifTags, Image, UnidentifiedImageError

from service.errors import ImageDimensions, UndecodableImage, UnsupportedImageFormat

PIXEL_BYTES = 4
"""What Pillow takes of a pixel at most."""

MAX_CLAIMED_PIXELS = 2_000_000_000
"""What a header may say of a picture that is decoded at a smaller size, since it costs time even so."""

MIN_BYTES = 32
"""Of fewer, no format makes a picture."""

NEEDS_MEMORY = "The image needs more memory to be decoded than this service has for one."

BROKEN = (
    *(OSError, EOFError, ValueError, SyntaxError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(RuntimeError, struct.error, zlib.error),
)
"""What decoders raise on broken files."""

_OUT_OF_MEMORY = re.compile(r"out of memory|memory allocation error|decoder error -9\b", re.IGNORECASE)
"""In what those say that do not raise MemoryError; -9 is Pillow's own number of it."""

# Pillow warns of odd metadata; what matters raises. Once for all threads: they share the filters.
warnings.filterwarnings("ignore", module=r"PIL\.")
# Pillow's own limit would keep it from opening what is decoded at a smaller size.
Image.MAX_IMAGE_PIXELS = MAX_CLAIMED_PIXELS


@contextmanager
def decoder_errors() -> Iterator[None]:
    """Raise ImageDimensions or UndecodableImage for what decoders raise in the block."""
    try:
        yield
    except Image.DecompressionBombError:
        raise ImageDimensions from None
    except MemoryError:
        raise ImageDimensions(NEEDS_MEMORY) from None
    except BROKEN as error:
        if _OUT_OF_MEMORY.search(str(error)):
            raise ImageDimensions(NEEDS_MEMORY) from None
        raise UndecodableImage from None


class Picture:
    """One encoded picture, opened, measured and decoded as Pillow does it; a format's own does otherwise where it must.

    format:              its name in answers, and Pillow's
    file:                what Pillow reads of what was sent
    size:                width and height as stored
    warnings:            sentences for a person, once it is decoded
    max_claimed_pixels:  what its header may say where it can be reduced
    is_reduced_early:    whether reduce() saves time, and so may be asked for where the whole is within the limits
    hides_memory_errors: whether its decoder says the same of a broken file and of memory that it did not get
    """

    format: ClassVar[str]
    max_claimed_pixels: ClassVar[int] = MAX_CLAIMED_PIXELS
    is_reduced_early: ClassVar[bool] = False
    hides_memory_errors: ClassVar[bool] = False
    warnings: tuple[str, ...] = ()

    def __init__(self, file: bytes) -> None:
        self.file = file
        self.image = self.open(file)
        self.size = self.image.size

    def open(self, file: bytes) -> Image.Image:
        """Return the picture without its pixels. Raises UnsupportedImageFormat or UndecodableImage."""
        try:
            return Image.open(io.BytesIO(file), formats=(self.format,))
        except UnidentifiedImageError:
            raise (UnsupportedImageFormat() if len(file) < MIN_BYTES else self.error_of_kind()) from None

    def error_of_kind(self) -> UndecodableImage:
        """Return what is wrong with a file that can't be opened, or be decoded."""
        return UndecodableImage()

    def check_whole(self) -> None:
        """Raise UndecodableImage where the file can't have as much as it claims."""

    def reduce(self, min_short_side: int, max_pixels: int) -> None:
        """Decode it at the smallest size that keeps so many pixels on its short side, if the file has one."""

    @property
    def decoded_size(self) -> tuple[int, int]:
        """Width and height of what will be decoded."""
        return self.image.size

    def decoder_bytes(self) -> int:
        """Return what decoding takes at most: the picture at the size that is decoded, and the work on the whole."""
        width, height = self.image.size
        return PIXEL_BYTES * width * height + self.decoder_pixel_bytes() * self.size[0] * self.size[1]

    def decoder_pixel_bytes(self) -> int:
        """Return what its decoder takes of each pixel at most, as measured, beside the picture itself."""
        return 0

    def decode(self, *, has_memory: bool) -> Image.Image:
        """Return the picture, not yet turned, with its ICC profile and what is transparent as Pillow has them.

        has_memory: whether decoder_bytes() are there; if not, it is tried all the same
        Raises what decoders do.
        """
        try:
            self.image.load()
        except BROKEN:
            if self.hides_memory_errors and not has_memory:
                raise MemoryError from None
            raise
        return self.complete()

    def complete(self) -> Image.Image:
        """Return the loaded picture with what its format asks for and Pillow does not do, and note what to warn of."""
        return self.image

    @property
    def orientation(self) -> int | None:
        """As EXIF numbers it, once it is decoded; None where nothing is said."""
        try:
            orientation = self.image.getexif().get(ExifTags.Base.Orientation)
        except BROKEN:
            return None  # a picture is no worse for broken EXIF
        return orientation if isinstance(orientation, int) else None


@dataclass(frozen=True)
class Format:
    """A format of pictures, or several that begin alike.

    beginning:   what files begin with; the formats are tried in their order
    extensions:  of files' names
    open:        reads the header; raises UnsupportedImageFormat or UndecodableImage
    is_ordinary: says of a whole file whether decoding it takes less than half a second and 70 MB, and is safe in the
                 process that answers; raises struct.error or zlib.error of broken ones
    preload:     imports what would else be imported with the first picture, which a closed process can't do
    """

    beginning: re.Pattern[bytes]
    extensions: tuple[str, ...]
    open: Callable[[bytes], Picture]
    is_ordinary: Callable[[bytes], bool] = lambda _file: False
    preload: Callable[[], object] = lambda: None
