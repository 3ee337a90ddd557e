"""Picture: encoded bytes of any format -> an OrientedImage; what a Format has to say of its pictures.

A format has a module in decoders/, which ends with its Format, and a line in decode.py's FORMATS.
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
from service.images.decoders import colour

PIXEL_BYTES = 4  # what Pillow takes of a pixel at most
MAX_CLAIMED_PIXELS = 2_000_000_000
"""What a header may say of a picture that is decoded at a smaller size, since it costs time even so."""

MIN_BYTES = 32  # of fewer, no format makes a picture
NEEDS_MEMORY = "The image needs more memory to be decoded than this service has for one."

BROKEN = (
    *(OSError, EOFError, ValueError, SyntaxError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(RuntimeError, struct.error, zlib.error),
)
"""What decoders raise on broken files."""

# In what those say that do not raise MemoryError; -9 is Pillow's own number of it.
_OUT_OF_MEMORY = re.compile(r"out of memory|memory allocation error|decoder error -9\b", re.IGNORECASE)
MAX_ASPECT_RATIO = 100
"""A longer shape would, once its short side is the model's input, be larger than the picture that was sent."""

Box = tuple[int, int, int, int]  # left, top, right and bottom, as Pillow has them
TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation. Pillow's exif_transpose() rewrites the whole EXIF as well, and fails where that is odd."""

_ON_ITS_SIDE = tuple(TO_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))  # the turns that make width of height
_RIGHT_TO_LEFT = tuple(TO_UPRIGHT[orientation] for orientation in (2, 3, 7, 8))
# The turns for which the decoded picture is read from its right, and from its bottom.
_BOTTOM_TO_TOP = tuple(TO_UPRIGHT[orientation] for orientation in (3, 4, 6, 7))
_BAND_PIXELS = 1_000_000  # a picture of more is turned and converted in bands of so many

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


def check_dimensions(size: tuple[int, int], max_pixels: int) -> None:
    """Raise ImageDimensions where a picture has more pixels, or a longer shape, than is taken."""
    width, height = size
    if width < 1 or height < 1 or width * height > max_pixels:
        raise ImageDimensions(f"The image must have 1 to {max_pixels} pixels.")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageDimensions(f"The image's long side may be at most {MAX_ASPECT_RATIO} times its short side.")


class Picture:
    """One encoded picture, opened, measured and decoded as Pillow does it; a format's own does otherwise where it must.

    format:              its name in answers, and Pillow's
    file:                what Pillow reads of what was sent
    size, decoded_size:  width and height as stored, and of what will be decoded
    warnings:            sentences for a person, once it is decoded
    max_claimed_pixels:  what its header may say where it can be reduced
    is_reduced_early:    whether reduce() saves time, and so may be used where the whole is within the limits
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
        self.size = self.decoded_size = self.image.size

    def decode(
        self, max_pixels: int, min_short_side: int | None, before_pixels: Callable[[int], bool] | None, *, fast: bool
    ) -> "OrientedImage":
        """Return the picture as service.images.decode.decode() describes it. Raises what decoders do."""
        check_dimensions(self.size, max_pixels if min_short_side is None else self.max_claimed_pixels)
        self.check_whole()
        is_large = self.size[0] * self.size[1] > max_pixels
        if min_short_side is not None and (is_large or (fast and self.is_reduced_early)):
            self.reduce(min_short_side, max_pixels)
        if is_large:  # or else it is within the limits already
            check_dimensions(self.decoded_size, max_pixels)
        has_memory = before_pixels is None or before_pixels(self.decoder_bytes())
        image = self.load(has_memory=has_memory)
        return OrientedImage(image, self.orientation)  # a PNG may say it behind its pixels

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

    def decoder_bytes(self) -> int:
        """Return what decoding takes at most: the picture at the size that is decoded, and the work on the whole."""
        width, height = self.decoded_size
        return PIXEL_BYTES * width * height + self.decoder_pixel_bytes() * self.size[0] * self.size[1]

    def decoder_pixel_bytes(self) -> int:
        """Return what its decoder takes of each pixel at most, as measured, beside the picture itself."""
        return 0

    def load(self, *, has_memory: bool) -> Image.Image:
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
    sets_aside:  bytes that its decoder sets aside to open a file, and writes to only when it decodes
    preload:     imports what would else be imported with the first picture, which a closed process can't do
    """

    beginning: re.Pattern[bytes]
    extensions: tuple[str, ...]
    open: Callable[[bytes], Picture]
    is_ordinary: Callable[[bytes], bool] = lambda _file: False
    sets_aside: int = 0
    preload: Callable[[], object] = lambda: None


class OrientedImage:
    """What a decoded picture is once it is turned, in sRGB, and on white where it is transparent.

    turn: what makes it upright, or None if it is
    """

    def __init__(self, image: Image.Image, orientation: int | None = None) -> None:
        """Take a decoded picture, and its orientation as EXIF numbers it."""
        self._image = image
        self._decoded_size = image.im.size  # a TIFF's own `size` is the one that Pillow would turn it to
        self.turn = TO_UPRIGHT.get(orientation or 1)
        self.size = self.width, self.height = oriented_size(self._decoded_size, self.turn)
        is_srgb = "transparency" not in image.info and not isinstance(image.info.get("icc_profile"), bytes)
        self._to_rgb = None if image.mode == "RGB" and is_srgb else colour.RgbConversion(image)

    def crop(self, box: Box) -> Image.Image:
        """Return a part as an RGB image of its own. Raises ImageDimensions or UndecodableImage."""
        with decoder_errors():
            return self._upright(self._image.crop(self._decoded_box(box)))

    def whole(self) -> Image.Image:
        """Return all of it, which is the decoded picture itself if that is upright RGB. Raises as crop() does."""
        is_small = self.width * self.height <= _BAND_PIXELS and self._image.size == self._decoded_size
        if self._to_rgb is None or is_small:
            with decoder_errors():
                return self._upright(self._image)
        whole = Image.new("RGB", self.size)
        rows = max(1, _BAND_PIXELS // self.width)
        for top in range(0, self.height, rows):
            whole.paste(self.crop((0, top, self.width, min(top + rows, self.height))), (0, top))
        return whole

    def _upright(self, image: Image.Image) -> Image.Image:
        rgb = self._to_rgb(image) if self._to_rgb else image
        return rgb if self.turn is None else rgb.transpose(self.turn)

    def _decoded_box(self, box: Box) -> Box:
        """Return where a part of the upright image is in the decoded one."""
        left, top, right, bottom = box
        if self.turn in _ON_ITS_SIDE:
            left, top, right, bottom = top, left, bottom, right
        width, height = self._decoded_size
        if self.turn in _RIGHT_TO_LEFT:
            left, right = width - right, width - left
        if self.turn in _BOTTOM_TO_TOP:
            top, bottom = height - bottom, height - top
        return left, top, right, bottom


def oriented_size(size: tuple[int, int], turn: Image.Transpose | None) -> tuple[int, int]:
    """Return the width and the height after a turn."""
    return size[::-1] if turn in _ON_ITS_SIDE else size
