"""Samples of any depth and kind -> 8 bits of what a person sees."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from service.errors import UndecodableImage
from service.images.decoders.tiff.codecs import Samples
from service.images.decoders.tiff.page import JPEG, Alpha, Colours, Page, unread
from service.images.decoders.tiff.segments import Band

Bytes = NDArray[np.uint8]  # [rows, columns, channels]
MODES = {
    Colours.GREY: "L",
    Colours.PALETTE: "RGB",
    Colours.RGB: "RGB",
    Colours.CMYK: "CMYK",
    Colours.YCBCR: "YCbCr",
    Colours.LAB: "LAB",
}
"""Pillow's names of what the samples become."""

_WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
_USUAL_WHITES = (1.0, 255.0, 65535.0)
_LUMA = (0.299, 0.587, 0.114)
_FULL_RANGE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)


@dataclass
class Range:
    """What the samples of a picture are, over all bands: the brightest colour and alpha, and where most of them are."""

    brightest: float = 0.0
    brightest_alpha: float = 0.0
    positive: int = 0
    up_to_one: int = 0

    def add(self, page: Page, band: Samples, nodata: float | None) -> None:
        """Take a band into account."""
        colours = band[..., : page.colours.samples]
        if nodata is not None:
            colours = np.where(_is_nodata(page, colours, nodata), page.dtype.type(0), colours)
        if page.kind == "f":
            colours = _finite(colours)
        brightest = float(colours.max())
        self.brightest = max(self.brightest, brightest)
        if page.kind == "f":
            positive = int(np.count_nonzero(colours > 0))
            self.positive += positive
            self.up_to_one += positive if brightest <= 1 else int(np.count_nonzero((colours > 0) & (colours <= 1)))
        if page.alpha:
            self.brightest_alpha = max(self.brightest_alpha, float(_finite(band[..., page.colours.samples]).max()))


@dataclass
class Conversion:
    """Makes 8 bits of a page's bands, in Pillow's `mode`.

    black, white: the samples that are so; of a palette and of Lab they say nothing
    brightest:    of the samples that were converted, where they have more than 8 bits
    """

    page: Page
    mode: str
    black: float
    white: float
    alpha_white: float
    nodata: float | None
    brightest: float = 0.0
    _table: Bytes | None = field(default=None, init=False)
    _palette: NDArray[np.uint32] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        page = self.page
        if page.colours is Colours.PALETTE:
            self._palette = _palette(page)
        if page.kind in "ui" and page.bits <= 16:
            numbers = np.arange(2**page.bits, dtype=f"u{page.dtype.itemsize}").view(page.dtype).astype(np.float64)
            self._table = _scaled(numbers, self.black, self.white)

    def __call__(self, band: Samples) -> Bytes:
        """Return the samples [rows, columns, channels of the mode]."""
        page = self.page
        colours = band[..., : page.colours.samples]
        if page.colours is Colours.LAB:
            return _lab(page, colours)
        if self._palette is not None:
            numbers = colours[..., 0].astype(page.dtype, copy=False)
            # Four bytes are taken at once.
            seen: Bytes = np.take(self._palette, numbers).view(np.uint8).reshape(*numbers.shape, 4)[..., :3]
        elif page.compression == JPEG or page.colours is not Colours.YCBCR:
            seen = self._eight_bits(colours, self.black, self.white)
            if page.bits > 8:
                brightest = _finite(colours) if page.kind == "f" else colours
                self.brightest = max(self.brightest, float(brightest.max()))
        else:
            seen = _full_range(page, colours)
        if page.white_is_zero:
            seen = 255 - seen
        if page.alpha:
            alpha = self._eight_bits(band[..., page.colours.samples, np.newaxis], 0.0, self.alpha_white)
            if page.alpha[0] is Alpha.ASSOCIATED and page.colours is not Colours.CMYK:
                seen = self._undone(band, seen)
        else:
            alpha = None
        if self.nodata is not None:
            is_there = ~_is_nodata(page, colours, self.nodata)
            there = np.any(is_there, axis=2, keepdims=True)
            alpha = np.where(there, np.uint8(255) if alpha is None else alpha, np.uint8(0))
        if alpha is None:
            return seen
        if self.mode == "CMYK":  # less opaque is less ink
            ink = seen if page.alpha and page.alpha[0] is Alpha.ASSOCIATED else seen * (alpha / np.float32(255)) + 0.5
            return np.asarray(ink, np.uint8)
        return np.concatenate([seen, alpha], axis=2)

    def _eight_bits(self, samples: Samples, black: float, white: float) -> Bytes:
        if self._table is not None and (black, white) == (self.black, self.white):
            if self.page.bits == 8 and self.page.kind == "u":
                return np.asarray(samples, np.uint8)
            native = samples.astype(samples.dtype.newbyteorder("="), copy=False)
            return np.take(self._table, native.view(f"u{native.dtype.itemsize}"))
        return _scaled(_finite(samples) if self.page.kind == "f" else samples.astype(np.float64), black, white)

    def _undone(self, band: Samples, seen: Bytes) -> Bytes:
        """Return colours as they were before they were multiplied by alpha."""
        assert self.page.alpha  # noqa: S101  # the caller has checked it
        white = 255.0
        colours = seen.astype(np.float32)
        alpha = _finite(band[..., self.page.colours.samples, np.newaxis]) * np.float32(1.0 / self.alpha_white)
        if self.page.bits > 8:
            colours = _finite(band[..., : self.page.colours.samples]) * np.float32(white / self.white)
            if self.page.white_is_zero:
                colours = white - colours
        shown = colours / np.where(alpha > 0, alpha, np.float32(1))
        return np.clip(shown + 0.5, 0.0, white).astype(np.uint8)


def conversion_of(page: Page, bands: Iterable[Band]) -> Conversion:
    """Return what makes 8 bits of the page's samples; the bands are gone through where only they tell what is white."""
    mode, nodata = MODES[page.colours], _nodata(page)
    if page.colours is Colours.YCBCR and page.compression == JPEG:
        mode = "RGB"
    if mode not in _WITH_ALPHA:
        nodata = None
    elif page.alpha or nodata is not None:
        mode = _WITH_ALPHA[mode]
    most = float(2 ** (page.bits - (page.kind == "i")) - 1)
    conversion = Conversion(page, mode, 0.0, most, most, nodata)
    if page.colours in (Colours.PALETTE, Colours.LAB):
        return conversion
    said = _said_range(page)
    counts = page.kind != "f" and page.bits <= 16
    if counts and said is None:
        return conversion
    seen = Range()
    for band in bands:
        seen.add(page, band.samples, nodata)
    if said is not None and seen.brightest <= said[1]:
        return replace(conversion, black=said[0], white=said[1], alpha_white=_white_of_alpha(page, seen, most))
    if counts:
        return conversion
    white = _white(page, seen)
    return replace(conversion, white=white, alpha_white=_white_of_alpha(page, seen, white))


def _white(page: Page, seen: Range) -> float:
    """Return the sample that is white where neither the depth nor the file says it."""
    if page.kind == "f":
        # Light above white is what most of the picture is not.
        if seen.brightest <= 1.0 or seen.up_to_one * 2 > seen.positive:
            return 1.0
        return next((white for white in _USUAL_WHITES if seen.brightest <= white), seen.brightest)
    return max(65535.0 if seen.brightest > 255.0 else 255.0, seen.brightest)


def _white_of_alpha(page: Page, seen: Range, white: float) -> float:
    if not page.alpha or page.kind != "f":
        return white
    opaque = next((usual for usual in _USUAL_WHITES if seen.brightest_alpha <= usual), 0.0)
    if not opaque or (page.alpha[0] is Alpha.ASSOCIATED and opaque != white):
        raise unread("numbers whose opacity has no known range")
    return opaque


def _said_range(page: Page) -> tuple[float, float] | None:
    """Return the darkest and brightest sample that the file says it has, None where it says no less than the depth."""
    if page.bits <= 8 or page.colours not in (Colours.GREY, Colours.RGB):
        return None
    lowest, highest = (0, 281) if page.kind == "u" else (340, 341)
    darkest = page.directory.numbers(lowest, 1_024) if lowest else np.zeros(0)
    brightest = page.directory.numbers(highest, 1_024)
    if not brightest.size or not np.isfinite(brightest.astype(np.float64)).all():
        return None
    white = float(brightest.max())
    if page.kind != "f" and white >= 2 ** (page.bits - (page.kind == "i")) - 1:
        return None
    black = min(0.0, float(np.nan_to_num(darkest.astype(np.float64)).min())) if darkest.size else 0.0
    return (black, white) if white > 0.0 else None


def _nodata(page: Page) -> float | None:
    """Return the sample that GDAL writes where there is no picture."""
    try:
        nodata = float(page.directory.contents(42_113, 64).rstrip(b"\0 "))
    except ValueError:
        return None
    if page.kind == "f":
        return nodata
    limits = np.iinfo(page.dtype.str)
    return nodata if nodata.is_integer() and limits.min <= nodata <= limits.max else None


def _is_nodata(page: Page, samples: Samples, nodata: float) -> NDArray[np.bool_]:
    if np.isnan(nodata):
        return np.isnan(samples)
    with np.errstate(over="ignore"):
        return np.asarray(samples == np.asarray(nodata).astype(page.dtype))


def _finite(samples: Samples) -> NDArray[np.float32]:
    """Return floats of the machine's byte order, 0 where a sample is no number or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        floats: NDArray[np.float32] = samples.astype(np.float32)
        # The sum shows it in a fraction of the time of checking each.
        if not np.isfinite(floats.sum()):
            np.nan_to_num(floats, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return floats


def _scaled(samples: NDArray[np.floating], black: float, white: float) -> Bytes:
    """Return 0 to 255 of floats, which are overwritten."""
    np.clip(samples, black, white, out=samples)
    samples -= black
    samples *= 255.0 / (white - black)
    samples += 0.5
    return samples.astype(np.uint8)


def _palette(page: Page) -> NDArray[np.uint32]:
    """Return the colours, each with a spare byte as one number. Raises UndecodableImage where there are too few."""
    colours = page.directory.numbers(320, 3 * 65_536)
    if colours.size < 3 * 2**page.bits or colours.dtype.kind not in "ui":
        raise UndecodableImage
    colours = colours[: 3 * 2**page.bits].reshape(3, -1).T
    with_spare = np.zeros((len(colours), 4), np.uint8)
    # Some writers put 8 bits where there are 16.
    with_spare[:, :3] = colours if colours.max() <= 255 else colours >> 8
    return with_spare.view(np.uint32)[:, 0]


def _lab(page: Page, samples: Samples) -> Bytes:
    """Return L, a and b as files of 8 bits with a sign have them, which is what Pillow reads."""
    if page.bits == 8:
        lab: Bytes = samples.view(np.uint8)
        return lab if page.signed_ab else lab ^ np.array([0, 0x80, 0x80], np.uint8)
    wide = samples.astype(samples.dtype.newbyteorder("=")).view(np.uint16).astype(np.int64)
    white = 65_535 if page.signed_ab else 65_280
    lightness = np.clip((wide[..., :1] * 255 + white // 2) // white, 0, 255)
    wide = wide[..., 1:] ^ (0x8000 if page.signed_ab else 0)
    offset = np.clip((wide + 128) >> 8, 0, 255)
    return np.concatenate([lightness, offset ^ 0x80], axis=2).astype(np.uint8)


def _full_range(page: Page, samples: Samples) -> Bytes:
    """Return YCbCr as JPEG has it, whatever range the file says that it has."""
    luma = page.directory.numbers(529, 3)
    if luma.size and not np.allclose(luma, _LUMA, atol=0.001):
        raise unread("YCbCr of other primaries")
    reference = page.directory.numbers(532, 6).astype(np.float64)
    if reference.size != 6 or tuple(reference) == _FULL_RANGE:
        return np.asarray(samples, np.uint8)
    black, white = reference[::2], reference[1::2]
    if np.any(white <= black):
        raise UndecodableImage
    wide = (samples - black) * (np.array([255.0, 127.0, 127.0]) / (white - black)) + (0.0, 128.0, 128.0)
    return np.clip(wide + 0.5, 0.0, 255.0).astype(np.uint8)
