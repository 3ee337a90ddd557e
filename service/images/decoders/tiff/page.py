"""What one directory says of its picture, or why pictures of that kind are not read."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from service.errors import UndecodableImage
from service.images.decoders.tiff.directory import Directory

_MAX_SAMPLES = 1_024  # of a pixel
_MAX_PIXEL_BYTES = 128  # of one segment: all of them are unpacked for the few that are seen
_REDUCED, _MASK = 1, 4  # of NewSubfileType's bits
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _IS_MASK, _CMYK, _YCBCR = range(7)
_CIE_LAB, _ICC_LAB = 8, 9

_CAMERA_RAW = (32_803, 34_892)
_DNG_VERSION = 50_706

NO_COMPRESSION, CCITT_RLE, CCITT_3, CCITT_4, LZW, JPEG, DEFLATE = 1, 2, 3, 4, 5, 7, 8
PACKBITS, OLD_DEFLATE, LZMA, ZSTD, WEBP = 32_773, 32_946, 34_925, 50_000, 50_001
JPEG_2000 = (33_005, 34_712)
CCITT = (CCITT_RLE, CCITT_3, CCITT_4)
OF_IMAGES = (JPEG, WEBP, *JPEG_2000)  # compressions that say size and colours of their own
_WITH_PREDICTOR = (LZW, DEFLATE, OLD_DEFLATE, LZMA, ZSTD)
_READ = (NO_COMPRESSION, *CCITT, *_WITH_PREDICTOR, PACKBITS, *OF_IMAGES)
_NAMES = {
    **dict.fromkeys((9, 10, 34_661), "JBIG"),
    **dict.fromkeys((34_676, 34_677), "LogLuv"),
    **dict.fromkeys((32_908, 32_909), "Pixar's"),
    **dict.fromkeys((22_610, 34_934), "JPEG XR"),
    **dict.fromkeys((50_002, 52_546), "JPEG XL"),
    6: "JPEG of the old style",
    32_766: "NeXT's",
    32_809: "ThunderScan",
    33_003: "JPEG 2000 in YCbCr",
    34_713: "Nikon's",
    34_715: "JBIG2",
    34_887: "LERC",
    34_933: "PNG",
}


def unread(kind: str) -> UndecodableImage:
    """Return what is raised of a whole TIFF of a kind that is not read."""
    return UndecodableImage(f"TIFF of a kind that is not read: {kind}.")


class Colours(Enum):
    """What the samples of a pixel are, and how many of them are colours."""

    GREY = 1
    PALETTE = 2
    RGB = 3
    CMYK = 4
    YCBCR = 5
    LAB = 6

    @property
    def samples(self) -> int:
        """How many samples of a pixel they are."""
        return {Colours.GREY: 1, Colours.PALETTE: 1, Colours.CMYK: 4}.get(self, 3)


class Alpha(Enum):
    """What is said of a sample behind the colours that is opacity."""

    UNSAID = 0
    ASSOCIATED = 1  # colours are multiplied by it already
    UNASSOCIATED = 2


@dataclass(frozen=True)
class Page:
    """One picture of the file, as it is stored.

    width, height:     pixels
    segment:           width and height of a tile, or of a strip
    bits, kind:        of a sample; kind is numpy's letter: u, i or f
    samples:           of a pixel
    planar:            whether each sample has segments of its own
    white_is_zero:     of a grey one
    signed_ab:         of a Lab one, whether a and b are
    alpha:             what it is, and which sample; None where it has none
    subsampling:       pixels across and down that share a chroma sample, where that is unpacked here
    """

    directory: Directory
    width: int
    height: int
    segment: tuple[int, int]
    is_tiled: bool
    bits: int
    kind: str
    samples: int
    planar: bool
    colours: Colours
    white_is_zero: bool
    signed_ab: bool
    alpha: tuple[Alpha, int] | None
    compression: int
    predictor: int
    reversed_bits: bool
    subsampling: tuple[int, int]

    @property
    def channels(self) -> int:
        """Samples of a pixel in one segment."""
        return 1 if self.planar else self.samples

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """What numpy calls the type of an unpacked sample."""
        size = next(size for size in (1, 2, 4, 8) if self.bits <= 8 * size)
        return np.dtype(f"{self.kind}{size}")


def size_of(directory: Directory) -> tuple[int, int]:
    """Return width and height as stored, 0 where they are absent."""
    return directory.number(256, 0), directory.number(257, 0)


def is_mask(directory: Directory) -> bool:
    """Say whether it says where another picture is transparent."""
    return bool(directory.number(254, 0) & _MASK) or directory.number(262, _BLACK_IS_ZERO) == _IS_MASK


def is_reduced(directory: Directory) -> bool:
    """Say whether it is a smaller copy of another picture, by the new tag or by the old one."""
    return bool(directory.number(254, 0) & _REDUCED) or (254 not in directory and directory.number(255, 1) == 2)


def check_is_no_negative(directory: Directory) -> None:
    """Raise UndecodableImage for what a camera saw, of which a picture has yet to be made."""
    if _DNG_VERSION in directory or directory.number(262, _BLACK_IS_ZERO) in _CAMERA_RAW:
        raise unread("a camera's raw negative")


def page_of(directory: Directory) -> Page:
    """Return what a directory says. Raises UndecodableImage."""
    check_is_no_negative(directory)
    width, height = size_of(directory)
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise UndecodableImage
    samples, compression = directory.number(277, 1), directory.number(259, NO_COMPRESSION)
    if not 0 < samples <= _MAX_SAMPLES:
        raise UndecodableImage
    bits, kind = _bits(directory)
    photometric = _photometric(directory, samples, compression)
    colours = _colours(directory, photometric, samples)
    is_tiled = 322 in directory
    segment = (directory.number(322, 0), directory.number(323, 0)) if is_tiled else (width, _rows(directory, height))
    if min(segment) < 1 or max(segment) >= 2**31 or directory.number(32_997, 1) != 1:
        raise UndecodableImage
    page = Page(
        directory=directory,
        width=width,
        height=height,
        segment=segment,
        is_tiled=is_tiled,
        bits=bits,
        kind=kind,
        samples=samples,
        planar=directory.number(284, 1) == 2 and samples > 1,
        colours=colours,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        signed_ab=photometric == _CIE_LAB,
        alpha=_alpha(directory, colours, samples),
        compression=compression,
        predictor=1 if compression in OF_IMAGES else directory.number(317, 1),
        reversed_bits=directory.number(266, 1) == 2 and compression not in OF_IMAGES,
        subsampling=_subsampling(directory) if photometric == _YCBCR and compression not in OF_IMAGES else (1, 1),
    )
    _check_is_read(page)
    return page


def _rows(directory: Directory, height: int) -> int:
    """Return how many rows a strip has."""
    return min(directory.number(278, height) or height, height)


def _bits(directory: Directory) -> tuple[int, str]:
    """Return the bits of a sample, and numpy's letter of what it is."""
    bits, formats = directory.numbers(258, _MAX_SAMPLES), directory.numbers(339, _MAX_SAMPLES)
    if len(set(bits.tolist())) > 1 or len(set(formats.tolist())) > 1:
        raise unread("samples of several depths")
    kind = {0: "u", 1: "u", 2: "i", 3: "f", 4: "u"}.get(int(formats[0]) if formats.size else 1)
    if kind is None:
        raise unread("complex numbers")
    return int(bits[0]) if bits.size else 1, kind


def _photometric(directory: Directory, samples: int, compression: int) -> int:
    if 262 in directory:
        return directory.number(262, _BLACK_IS_ZERO)
    # As libtiff guesses.
    if samples >= 3:
        return _RGB
    return _WHITE_IS_ZERO if compression in CCITT else _BLACK_IS_ZERO


def _colours(directory: Directory, photometric: int, samples: int) -> Colours:
    known = {
        **dict.fromkeys((_WHITE_IS_ZERO, _BLACK_IS_ZERO), Colours.GREY),
        **dict.fromkeys((_CIE_LAB, _ICC_LAB), Colours.LAB),
        _RGB: Colours.RGB,
        _PALETTE: Colours.PALETTE,
        _CMYK: Colours.CMYK,
        _YCBCR: Colours.YCBCR,
    }
    if photometric == _IS_MASK:
        raise unread("a mask alone")
    if photometric not in known:
        raise unread("colours that are neither grey, a palette, RGB, CMYK, YCbCr nor Lab")
    colours = known[photometric]
    if samples < colours.samples:
        raise unread("fewer samples than colours")
    if colours is Colours.CMYK and (directory.number(332, 1) != 1 or directory.number(334, 4) != 4):
        raise unread("inks that are not CMYK")
    return colours


def _alpha(directory: Directory, colours: Colours, samples: int) -> tuple[Alpha, int] | None:
    """Return what the first of the samples behind the colours is that is opacity, and which."""
    extra = [int(kind) for kind in directory.numbers(338, _MAX_SAMPLES)]
    behind = samples - colours.samples
    if not extra and behind == 1 and colours in (Colours.GREY, Colours.RGB):
        return Alpha.UNSAID, colours.samples
    for number, kind in enumerate(extra[:behind]):
        if kind in (1, 2):
            return Alpha(kind), colours.samples + number
    if colours is Colours.GREY and behind > 1:
        raise unread("channels that are no colours")
    return None


def _subsampling(directory: Directory) -> tuple[int, int]:
    numbers = [int(number) for number in directory.numbers(530, 2)]
    across, down = numbers if len(numbers) == 2 else (2, 2)
    if across not in (1, 2, 4) or down not in (1, 2, 4):
        raise UndecodableImage
    return across, down


def _check_is_read(page: Page) -> None:
    if page.compression not in _READ:
        name = _NAMES.get(page.compression)
        raise unread(f"compressed by {name}" if name else "compressed in a way that is not known")
    _check_samples(page)
    _check_predictor(page)
    if page.compression in OF_IMAGES:
        _check_image_codec(page)
    elif page.subsampling != (1, 1) and (page.planar or page.samples != 3):
        raise unread("YCbCr whose planes are of several sizes")


def _check_samples(page: Page) -> None:
    depths = {"u": (*range(1, 17), 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}
    if page.bits not in depths[page.kind]:
        raise unread("a depth of samples that is not known")
    if page.channels * page.dtype.itemsize > _MAX_PIXEL_BYTES:
        raise unread("more samples of a pixel than a picture has")
    if page.colours is Colours.PALETTE and (page.kind != "u" or page.bits > 16):
        raise unread("a palette for numbers that do not count")
    if page.colours is Colours.YCBCR and (page.bits, page.kind) != (8, "u"):
        raise unread("YCbCr of other than 8 bits")
    if page.colours is Colours.LAB and (page.bits not in (8, 16) or page.kind == "f" or page.alpha):
        raise unread("Lab of other than 8 or 16 bits, or with alpha")
    if page.colours is Colours.CMYK and page.kind != "u":
        raise unread("CMYK of other than whole numbers")
    if page.compression in CCITT and (page.bits, page.samples, page.kind) != (1, 1, "u"):
        raise UndecodableImage


def _check_predictor(page: Page) -> None:
    if page.predictor == 1:
        return
    # Where the compression has none, programs differ in whether they apply it.
    known = (2, 3) if page.kind == "f" else (2,)
    if page.compression not in _WITH_PREDICTOR or page.predictor not in known or page.bits not in (8, 16, 32, 64):
        raise unread("a predictor that does not go with the rest")


def _check_image_codec(page: Page) -> None:
    depths = {JPEG: (8, 12), WEBP: (8,)}.get(page.compression, (8, 16))
    if page.bits not in depths or page.kind != "u" or page.colours in (Colours.PALETTE, Colours.LAB):
        raise unread("samples that do not go with their compression")
    if page.colours is Colours.YCBCR and (page.compression != JPEG or page.planar or page.samples != 3):
        raise unread("YCbCr that is not simply JPEG")
    if page.compression == WEBP and (page.colours is not Colours.RGB or page.planar or page.samples > 4):
        raise unread("WebP of other than RGB")
