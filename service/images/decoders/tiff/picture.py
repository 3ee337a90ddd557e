"""Which of a TIFF's pictures is meant, and its pixels."""

import sys

from PIL import Image

from service.errors import UndecodableImage, UnsupportedImageFormat
from service.images.decoders.colour import range_warnings
from service.images.decoders.tiff.directory import Directories, Directory
from service.images.decoders.tiff.page import (
    Alpha,
    Colours,
    Page,
    check_is_no_negative,
    is_mask,
    is_reduced,
    page_of,
    size_of,
    unread,
)
from service.images.decoders.tiff.samples import Conversion, conversion_of
from service.images.decoders.tiff.segments import Segments
from service.images.picture import BROKEN, MIN_BYTES, PIXEL_BYTES, Picture

_PROFILE_BYTES = 16 * 1024**2
_TOLD_BYTES = 65_536

# What a scanner of slides says of itself. Its copies are not marked, but in tiles; its label and thumbnail are not.
_SLIDE = b"Aperio"


class TiffPicture(Picture):
    """The picture that a file is about: its first one that is neither a smaller copy of another, nor a mask.

    Raises UndecodableImage, which names the kind where the file is whole and of a kind that is not read.
    """

    format = "TIFF"
    max_claimed_pixels = sys.maxsize  # of a copy as well, each segment is read by itself
    is_reduced_early = True

    def __init__(self, encoded: bytes) -> None:
        if len(encoded) < MIN_BYTES:
            raise UnsupportedImageFormat
        if encoded[8:10] == b"CR" and encoded[:4] == b"II*\0":
            raise unread("a camera's raw negative")
        directories = Directories(encoded)
        self._directories = directories
        self._directory, self._copies = _found(directories)
        self.size = self.decoded_size = size_of(self._directory)
        self._orientation = self._directory.number(274, 1)
        self._page: Page | None = None
        self._segments: Segments | None = None

    @property
    def orientation(self) -> int:
        """As EXIF numbers it."""
        return self._orientation

    def reduce(self, min_short_side: int, max_pixels: int) -> None:
        """Decode the smallest copy with so many pixels on its short side, and no more than `max_pixels`, if any."""
        page_of(self._directory)  # a kind that isn't read is refused, whatever its copy is
        copies = [copy for copy in self._copies if _is_copy(size_of(copy), self.size) and not is_mask(copy)]
        for copy in sorted(copies, key=size_of):
            width, height = size_of(copy)
            if min(width, height) >= min_short_side and width * height <= max_pixels:
                try:
                    self._page, self.decoded_size = page_of(copy), (width, height)
                except UndecodableImage:
                    continue
                return

    def decoder_bytes(self) -> int:
        """Return what decoding takes at most, the picture included, but for bands of it."""
        page = self._whole_page()
        self._segments = Segments(page)
        return PIXEL_BYTES * page.width * page.height + self._segments.bytes_at_a_time

    def load(self, *, has_memory: bool) -> Image.Image:
        """Return the picture, in 8 bits. Raises what the codecs do."""
        try:
            return self._decoded()
        except BROKEN:
            if not has_memory:  # codecs say the same of both
                raise MemoryError from None
            raise

    def _decoded(self) -> Image.Image:
        page = self._whole_page()
        segments = self._segments or Segments(page)
        conversion = conversion_of(page, segments.bands())
        image = Image.new(conversion.mode, (page.width, page.height))
        for band in segments.bands():
            seen = conversion(band.samples)
            rows, columns = seen.shape[:2]
            image.paste(Image.frombytes(conversion.mode, (columns, rows), seen.tobytes()), (band.left, band.top))
        if page.alpha and page.alpha[0] is Alpha.UNSAID and image.getchannel("A").getextrema() == (0, 0):
            image = image.convert(image.mode.removesuffix("A"))  # an alpha channel of zeros means none
        profile = self._directory.contents(34_675, _PROFILE_BYTES)
        if profile:
            image.info["icc_profile"] = profile
        self.warnings = _warnings(conversion)
        return image

    def _whole_page(self) -> Page:
        if self._page is None:
            self._page = page_of(self._directory)
        return self._page


def _found(directories: Directories) -> tuple[Directory, list[Directory]]:
    """Return the picture's directory, and those of smaller copies: behind it up to the next picture, and below it."""
    others: list[Directory] = []
    chain = directories.chain()
    for directory in chain:
        if is_reduced(directory) or is_mask(directory):
            others.append(directory)
            continue
        copies = list(directories.below(directory))
        for copy in copies:
            check_is_no_negative(copy)
        is_slide = _is_slide(directory)
        for following in chain:
            if is_reduced(following) or is_mask(following) or (is_slide and 322 in following):
                copies.append(following)
            elif not is_slide:
                break
        return directory, copies
    # What a camera writes has its negative below a thumbnail.
    for directory in others:
        check_is_no_negative(directory)
        for below in directories.below(directory):
            check_is_no_negative(below)
            if not is_reduced(below) and not is_mask(below):
                return below, []
    pictures = [directory for directory in others if not is_mask(directory)] or others
    return max(pictures, key=lambda directory: size_of(directory)[0] * size_of(directory)[1]), []


def _is_slide(directory: Directory) -> bool:
    try:
        return directory.contents(270, _TOLD_BYTES).startswith(_SLIDE)
    except UndecodableImage:  # a broken description does not matter
        return False


def _is_copy(small: tuple[int, int], whole: tuple[int, int]) -> bool:
    """Say whether a size is a fraction of another, but for what halving rounds."""
    width, height = small
    if not (0 < width < whole[0] and 0 < height <= whole[1]):
        return False
    # Both sides may be one pixel off.
    across, down = whole[0] / width, whole[1] / height
    return abs(across - down) <= max(across / width, down / height) * 1.01


def _warnings(conversion: Conversion) -> tuple[str, ...]:
    is_light = conversion.page.colours in (Colours.GREY, Colours.RGB)
    if not is_light or conversion.page.bits <= 8:
        return ()
    return range_warnings(conversion.brightest / (conversion.white - conversion.black))
