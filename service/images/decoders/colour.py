"""Colours: from any mode and ICC profile to sRGB; profiles of what files say in numbers; samples that are dim."""

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Points = tuple[float, ...]  # x and y of white, red, green and blue
SRGB: Points = (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
_PRIMARIES: dict[int, Points] = {
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI-P3
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0}
_HDR = (16, 18)  # PQ and HLG
_UNSAID = 2  # the code point of primaries, or of a transfer, that are said elsewhere or not at all
_SAME = 0.005
_SRGB_EXPONENT = 2.2  # what programs write of sRGB, whose curve is near it; a file that says so means sRGB
_SRGB_CURVE = struct.pack(">4sIHH5i", b"para", 0, 3, 0, *(round(each * 65536) for each in (
    2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045,
)))  # fmt: skip
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])

HDR_WARNING = "The picture says that its brightness is HDR's; it was read as if it were not, and may look flat."

_DIM = 0.26  # of the range of samples: a scan that uses no more most likely has fewer bits than the file
_BANDS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3}  # of modes that are light: how many say how much
_WIDE, _WIDE_WHITE = "I;16", 65_535
_BYTE_VALUES = 256
_LEAST = 0.5

MAX_PLAIN_BYTES = 32_768  # three curves of 4,096 samples, and what such a profile says besides
# Class, space of the colours, space that they are taken to, a mark, and the number of tags.
_HEADER = struct.Struct(">12x4s4s4s12x4s88xI")
_TAG = struct.Struct(">4sII")
_MARK = b"acsp"
_CLASSES = (b"mntr", b"scnr", b"spac", b"prtr")
_SPACES = (b"RGB ", b"GRAY")
_MAX_TAGS = 40
_MOST_TAGS = 100  # as many as Little CMS reads of any profile
_MAX_SAMPLES = 4_096
_FLOAT_PIPELINES = frozenset(b"D2B0 D2B1 D2B2 D2B3 B2D0 B2D1 B2D2 B2D3".split())
_CURVES = (b"rTRC", b"gTRC", b"bTRC", b"kTRC")
# What else such profiles hold. Little CMS reads those of them that it needs, and each of these once.
_OTHER_TAGS = frozenset(
    b"rXYZ gXYZ bXYZ wtpt bkpt chad desc cprt dmnd dmdd lumi meas view vued tech chrm targ calt cicp dscm mmod vcgt "
    b"ndin aarg aagg aabg aapy".split()
)
_BAND_PIXELS = 1_000_000  # of a picture, how many are looked at in one go
_SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
_GREY_MODES = ("1", "L", "LA", "La")


class RgbConversion:
    """Makes RGB of a picture, or of a band of its rows, since no pixel depends on another."""

    def __init__(self, image: Image.Image) -> None:
        self._white = _white(image) if image.mode.startswith("I") else None
        self._transparent = image.info.get("transparency")
        self._icc = image.info.get("icc_profile")
        self._is_of_grey = isinstance(self._icc, bytes) and self._icc[16:20] == b"GRAY"
        self._transforms: dict[str, ImageCms.ImageCmsTransform | None] = {}

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
    rows = max(1, _BAND_PIXELS // width)
    bands = (image.crop((0, top, width, min(top + rows, height))) for top in range(0, height, rows))
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
        return ImageCms.ImageCmsTransform(_LAB_PROFILE, _SRGB_PROFILE, mode, "RGB")
    if not isinstance(icc, bytes):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(without_float_pipelines(icc)))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return None
        return ImageCms.ImageCmsTransform(profile, _SRGB_PROFILE, mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def name_colours(
    image: Image.Image, code_points: tuple[int, int] | None, said: tuple[Points, float] | None = None
) -> tuple[str, ...]:
    """Give a picture without a profile one of what its file says of colours in numbers; return what to warn of.

    code_points: of primaries and transfer, which count before
    said:        points of the primaries, and the exponent that samples between 0 and 1 are raised to
    """
    if code_points and code_points[1] in _HDR:
        return (HDR_WARNING,)
    if image.format == "PNG" and code_points and _UNSAID not in code_points:
        image.info.pop("icc_profile", None)  # PNG (Third Edition), 4.3: the numbers count before the profile
    named = _of_code_points(*code_points) if code_points else said
    if named and not isinstance(image.info.get("icc_profile"), bytes):
        grey = image.mode in ("L", "I;16") and "transparency" not in image.info
        profile = profile_of(*named, grey=grey)
        if profile:
            image.info["icc_profile"] = profile
    return ()


def _of_code_points(primaries: int, transfer: int) -> tuple[Points, float] | None:
    """Return points and exponent of colours that are said by number, None where they are sRGB's or not known.

    Source: ITU-T H.273, tables 2 and 3.
    """
    points, exponent = _PRIMARIES.get(primaries, SRGB), _EXPONENTS.get(transfer, _SRGB_EXPONENT)
    return None if points is SRGB and exponent == _SRGB_EXPONENT else (points, exponent)


def profile_of(points: Points, exponent: float, *, grey: bool) -> bytes | None:
    """Return an ICC profile of these colours, None where they are sRGB's or impossible.

    exponent: that samples between 0 and 1 are raised to
    grey:     whether it is for pictures of one channel, which have no primaries
    Source: ICC.1:2001-04, 6.3.1.2 and 6.3.3.
    """
    like_srgb = abs(exponent - _SRGB_EXPONENT) < 0.05
    if like_srgb and (grey or max(abs(a - b) for a, b in zip(points, SRGB, strict=True)) < _SAME):
        return None
    curve = _SRGB_CURVE if like_srgb else struct.pack(">4sIIHxx", b"curv", 0, 1, round(exponent * 256))
    tags = {b"wtpt": _xyz(_D50)}
    if grey:
        tags[b"kTRC"] = curve
    else:
        matrix = _matrix(points)
        if matrix is None:
            return None
        for channel, column in zip((b"r", b"g", b"b"), matrix.T, strict=True):
            tags[channel + b"XYZ"], tags[channel + b"TRC"] = _xyz(column), curve
    name = b"Made of what the file says\0"
    described = struct.pack(">4sII", b"desc", 0, len(name)) + name + bytes(78)
    tags[b"desc"] = described + bytes(-len(described) % 4)
    return _packed(b"GRAY" if grey else b"RGB ", tags)


def _matrix(points: Points) -> NDArray[np.float64] | None:
    """Return what makes XYZ under D50 of linear RGB, [3, 3], or None where no colours are so."""
    if min(points[1::2]) <= 0:
        return None
    white, *colours = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in zip(points[::2], points[1::2], strict=True))
    columns = np.stack(colours, axis=1)
    if abs(np.linalg.det(columns)) < 1e-6 or (_BRADFORD @ white).min() <= 0:
        return None
    linear = columns * np.linalg.solve(columns, white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD @ linear
    return adapted if np.abs(adapted).max() < 4 else None


def _xyz(values: NDArray[np.float64]) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *(round(float(value) * 65536) for value in values))


def _packed(device: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, data, offset = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, contents in tags.items():
        table += struct.pack(">4sII", tag, offset + len(data), len(contents))
        data += contents
    size = 128 + len(table) + len(data)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", device, b"XYZ ")
    header = header.ljust(36, b"\0") + b"acsp"
    illuminant = struct.pack(">3i", *(round(float(value) * 65536) for value in _D50))
    return header.ljust(68, b"\0") + illuminant + bytes(128 - 80) + table + data


def depth_warnings(image: Image.Image, depth: int) -> tuple[str, ...]:
    """Return what to warn of in a loaded picture whose file has samples of so many bits."""
    return () if depth <= 8 else range_warnings(_used(image))


def range_warnings(used: float) -> tuple[str, ...]:
    """Return what to warn of where samples of more than 8 bits use such a part of their range, from 0 to 1."""
    if not 0 < used <= _DIM:
        return ()
    percent = max(1, round(100 * used))
    return (
        f"The picture uses {percent} % of the range that its samples have, and the file does not say that they have "
        "fewer bits: it was taken as it is, and may look almost of one tone.",
    )


def _used(image: Image.Image) -> float:
    """Return the brightest sample as a part of white; 0 where a picture is not of light."""
    if image.mode == _WIDE:
        _, brightest = image.getextrema()
        return float(brightest) / _WIDE_WHITE  # type: ignore[arg-type]  # one band has two numbers
    bands = _BANDS.get(image.mode, 0)
    counts = image.histogram()[: _BYTE_VALUES * bands]
    seen = [place % _BYTE_VALUES for place, count in enumerate(counts) if count]
    # What seems black may be numbers that 8 bits are too few for.
    return max(_LEAST, *seen) / (_BYTE_VALUES - 1) if bands else 0.0


def without_float_pipelines(profile: bytes) -> bytes:
    """Return the profile with its float pipelines (multiProcessElements) under names that are not read.

    A pipeline may have any number of stages in eight bytes each, and Little CMS takes 7 ms for each. A profile that has
    them must be complete without them.
    Source: ICC.1:2022, 8.3 to 8.5 and 10.16.
    """
    changed = bytearray(profile)
    try:
        tags = min(_HEADER.unpack_from(profile)[-1], _MOST_TAGS)
        for place in range(_HEADER.size, _HEADER.size + tags * _TAG.size, _TAG.size):
            if _TAG.unpack_from(profile, place)[0] in _FLOAT_PIPELINES:
                changed[place] = ord("_")
    except struct.error:
        pass  # Little CMS says of it what it says of any that is cut short
    return bytes(changed)


def is_plain(profile: bytes) -> bool:
    """Say whether a profile has matrix and curves alone, of a moderate size, and no table and no chain of stages."""
    if len(profile) > MAX_PLAIN_BYTES:
        return False
    try:
        profile_class, space, connection, mark, tags = _HEADER.unpack_from(profile)
        if profile_class not in _CLASSES or space not in _SPACES or connection != b"XYZ " or mark != _MARK:
            return False
        return tags <= _MAX_TAGS and all(
            name in _OTHER_TAGS or (name in _CURVES and _is_plain_curve(profile, place))
            for name, place, _ in _TAG.iter_unpack(profile[_HEADER.size : _HEADER.size + tags * _TAG.size])
        )
    except struct.error:
        return False


def _is_plain_curve(profile: bytes, place: int) -> bool:
    kind, samples = struct.unpack_from(">4s4xI", profile, place)
    return bool(kind == b"para" or (kind == b"curv" and samples <= _MAX_SAMPLES))
