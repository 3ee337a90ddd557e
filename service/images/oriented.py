"""An upright RGB image of a decoded picture, made of it in bands, since both as a whole would take twice the memory."""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from service.images.decoders.base import decoder_errors
from service.images.decoders.colour import without_float_pipelines

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, as Pillow has them."""

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

_ON_ITS_SIDE = tuple(TO_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))
"""The turns that make width of height."""

_RIGHT_TO_LEFT = tuple(TO_UPRIGHT[orientation] for orientation in (2, 3, 7, 8))
_BOTTOM_TO_TOP = tuple(TO_UPRIGHT[orientation] for orientation in (3, 4, 6, 7))
"""The turns for which the decoded picture is read from its right, and from its bottom."""

_BAND_PIXELS = 1_000_000
"""A picture of more is turned and converted in bands of so many."""

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_GREY_MODES = ("1", "L", "LA", "La")
_LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))


class OrientedImage:
    """What a decoded picture is once it is turned, in sRGB, and on white where it is transparent.

    turn: what makes it upright, or None if it is
    """

    def __init__(self, image: Image.Image, orientation: int | None = None) -> None:
        """Take a decoded picture, and its orientation as EXIF numbers it."""
        self._image = image
        self._decoded_size = image.im.size  # a TIFF's own `size` is the one that Pillow would turn it to
        self.turn = TO_UPRIGHT.get(orientation or 1)
        self._to_rgb = _Conversion(image)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return oriented_size(self._decoded_size, self.turn)

    @property
    def width(self) -> int:
        """Pixels of a row."""
        return self.size[0]

    @property
    def height(self) -> int:
        """Rows."""
        return self.size[1]

    def crop(self, box: Box) -> Image.Image:
        """Return a part as an RGB image of its own. Raises ImageDimensions or UndecodableImage."""
        with decoder_errors():
            return self._turned(self._to_rgb(self._image.crop(self._decoded_box(box))))

    def whole(self) -> Image.Image:
        """Return all of it, which is the decoded picture itself if that is upright RGB. Raises as crop() does."""
        width, height = self.size
        is_small = width * height <= _BAND_PIXELS and self._image.size == self._decoded_size
        if self._to_rgb.changes_nothing or is_small:
            with decoder_errors():
                return self._turned(self._to_rgb(self._image))
        whole = Image.new("RGB", self.size)
        for top, bottom in _rows(width, height):
            whole.paste(self.crop((0, top, width, bottom)), (0, top))
        return whole

    def _turned(self, image: Image.Image) -> Image.Image:
        return image if self.turn is None else image.transpose(self.turn)

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


def _rows(width: int, height: int) -> Iterator[tuple[int, int]]:
    """Yield where each band of rows begins and ends."""
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


class _Conversion:
    """Makes RGB of a picture, or of a band of its rows, since no pixel depends on another."""

    def __init__(self, image: Image.Image) -> None:
        self._white = _white(image) if image.mode.startswith("I") else None
        self._transparent = image.info.get("transparency")
        self._icc = image.info.get("icc_profile")
        self._is_of_grey = isinstance(self._icc, bytes) and self._icc[16:20] == b"GRAY"
        self._transforms: dict[str, ImageCms.ImageCmsTransform | None] = {}
        transparent = "transparency" in image.info
        self.changes_nothing = image.mode == "RGB" and not transparent and not isinstance(self._icc, bytes)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the picture, or the band, as RGB."""
        if self._white is not None:
            image = _to_eight_bits(image, self._white, self._transparent)
        if image.mode in ("P", "PA"):
            image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
        is_grey = image.mode in _GREY_MODES
        if image.mode in ("LA", "La", "RGBa") or (image.mode in ("L", "RGB", "1") and "transparency" in image.info):
            image = image.convert("RGBA")
        if image.mode == "RGBA":
            # White is the page's, and not of the picture's colours.
            return _on_white(self._opaque_in_srgb(image, is_grey=is_grey))
        if image.mode not in ("RGB", "L", "CMYK", "LAB"):
            image = image.convert("RGB")
        image = self._in_srgb(image)
        return image if image.mode == "RGB" else image.convert("RGB")

    def _opaque_in_srgb(self, image: Image.Image, *, is_grey: bool) -> Image.Image:
        """Return colours in sRGB, with the opacity that they had."""
        if not isinstance(self._icc, bytes):
            return image
        # Of grey, RGB has three times the same; a grey profile has no use for that.
        colours = image.getchannel(0) if is_grey and self._is_of_grey else image.convert("RGB")
        in_srgb = self._in_srgb(colours).convert("RGB")
        in_srgb.putalpha(image.getchannel("A"))
        return in_srgb

    def _in_srgb(self, image: Image.Image) -> Image.Image:
        if image.mode not in self._transforms:
            self._transforms[image.mode] = _transform(image.mode, self._icc)
        transform = self._transforms[image.mode]
        return image if transform is None else transform.apply(image)


def _white(image: Image.Image) -> float:
    """Return the sample that is white in a grey picture of 16-bit or 32-bit samples."""
    width, height = image.im.size
    bands = (image.crop((0, top, width, bottom)) for top, bottom in _rows(width, height))
    brightest = max(float(_finite(band).max()) for band in bands)
    return max(65535.0 if image.mode.startswith("I;16") or brightest > 255.0 else 255.0, brightest)


def _finite(image: Image.Image) -> NDArray[np.float32]:
    samples = np.array(image, dtype=np.float32)
    return np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _to_eight_bits(image: Image.Image, white: float, transparent: object) -> Image.Image:
    """Return a grey picture of 16-bit or 32-bit samples as mode L: Pillow's own convert() only clips.

    transparent: the sample that is transparent, which makes it mode LA, or None
    """
    samples = _finite(image)
    alpha = None if transparent is None else Image.fromarray(samples != transparent).convert("L")
    samples *= 255.0 / white
    samples += 0.5
    grey = Image.fromarray(np.clip(samples, 0.0, 255.0, out=samples).astype(np.uint8), mode="L")
    return grey if alpha is None else Image.merge("LA", (grey, alpha))


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _transform(mode: str, icc: object) -> ImageCms.ImageCmsTransform | None:
    """Return what turns pictures of this mode into sRGB; None where they are, or their profile is broken or alien."""
    if mode == "LAB":
        return ImageCms.ImageCmsTransform(_LAB, _SRGB, mode, "RGB")
    if not isinstance(icc, bytes):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(without_float_pipelines(icc)))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return None
        return ImageCms.ImageCmsTransform(profile, _SRGB, mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
