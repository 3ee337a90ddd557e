"""PNG: the chunks that make its picture, without what Pillow would stumble over, and what Pillow leaves undone.

A PNG says much beside its picture: notes, dates, resolutions. None of it makes the picture another, so that none of it
may keep a picture from being read, or cost anything. What does make it another is checked here; Pillow does not look
at the checksums of the pixels, nor at the low bytes of what is transparent.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image, ImageChops

from service.errors import UndecodableImage
from service.images.decoders import colour
from service.images.picture import Format, Picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PICTURE = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# Chunks that a picture can do without, and that say how it is to be seen.
_SEEN = (b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf")
_DEPTH = 24  # where the header says it
_MIN_GAMMA = 0.2
_CODE_POINTS, _CODE_POINTS_BYTES = b"cICP", 16
_CUT_SHORT = b""
_AROUND = 12  # bytes of a chunk's length, its kind and its checksum
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Keywords of the texts in which programs put EXIF and XMP, where Pillow looks for the orientation.
_SAY_ORIENTATION = (b"Raw profile type exif", b"XML:com.adobe.xmp")
_MAX_UNPACKED = 1_048_576  # bytes of a profile or a text, unpacked, that Pillow takes
# The bit of a chunk's first letter that makes it a small one: a reader that does not know the chunk may skip it.
_ANCILLARY = 0x20
_LEFT_OUT = "A part of the PNG that says how its pixels are to be seen is broken or too large, and was left out: {}."
_SAID_BY = {
    b"tRNS": "transparency",
    b"iCCP": "colour profile",
    b"sRGB": "colour space",
    b"gAMA": "gamma",
    b"cHRM": "primaries",
    b"eXIf": "EXIF",
}

_MAX_ORDINARY_PIXELS = 8_000_000
_MAX_ROWS = 50_000_000  # bytes of the rows; of more, to unpack them and to undo their filters takes over half a second
_MAX_PACKED_METADATA = 16_384  # bytes of notes, profile and the like, where each byte may unpack to a thousand
# How many chunks there may be, and how many bytes a further one must have on the average: Pillow reads them singly.
_MAX_CHUNKS, _MIN_CHUNK = 100, 1_024
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the header's number of the kind of colours
_DEEP = 16  # bits of samples of which Pillow keeps a half, so that it decodes twice what has a transparent value
# The raw mode by which Pillow takes the low bytes of big-endian samples: as if they were little-endian.
_LOW_BYTES = "RGB;16L"


class PngPicture(Picture):
    """A PNG of nothing but what makes its picture."""

    format = "PNG"

    def __init__(self, file: bytes) -> None:
        essential, self._left_out, self._code_points = _essential(file)
        super().__init__(essential)

    def decoder_pixel_bytes(self) -> int:
        """Return what it takes to find the pixels of a transparent colour."""
        return 20 if isinstance(self.image.info.get("transparency"), tuple) else 0

    def complete(self) -> Image.Image:
        """Return the picture with what its transparent value means, and the profile of its colours."""
        _complete_transparency(self.image, self.file)
        named = colour.name_colours(self.image, self._code_points, _colours(self.image))
        self.warnings = (*self._left_out, *named, *colour.depth_warnings(self.image, self.file[_DEPTH]))
        return self.image


def _essential(encoded: bytes) -> tuple[bytes, tuple[str, ...], tuple[int, int] | None]:
    """Return a PNG without the chunks that its picture can do without, and what else is to be known of it.

    That is: sentences on parts that had to be left out, and the code points of its primaries and its transfer, if any.
    Raises UndecodableImage where a chunk that makes the picture has a wrong checksum, or is one that is not known.
    Source: PNG (Third Edition), 5 and 11.
    """
    kept, left_out = [memoryview(SIGNATURE)], []
    code_points: tuple[int, int] | None = None
    for kind, chunk in _chunks(encoded):
        if kind in _PICTURE:
            if not _is_sound(chunk):
                raise UndecodableImage("The image is a broken PNG: a checksum of its picture is wrong.")
            kept.append(chunk)
        elif kind in _SEEN:
            if _is_sound(chunk) and (kind != b"iCCP" or _unpacks(bytes(chunk[8:-4]).partition(b"\0")[2][1:])):
                kept.append(chunk)
            else:
                left_out.append(_LEFT_OUT.format(_SAID_BY[kind]))
        elif kind in _TEXTS:
            if _is_sound(chunk) and _says_orientation(kind, chunk):
                kept.append(chunk)
        elif kind == _CODE_POINTS and len(chunk) == _CODE_POINTS_BYTES and _is_sound(chunk):
            code_points = chunk[8], chunk[9]
        elif kind == _CUT_SHORT:  # which the pixels will show
            kept.append(chunk)
    return b"".join(kept), tuple(dict.fromkeys(left_out)), code_points


def _chunks(encoded: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and all bytes of each chunk, to the end of the picture. Raises UndecodableImage."""
    place, kind, whole = len(SIGNATURE), b"", memoryview(encoded)
    while place + _AROUND <= len(encoded) and kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", encoded, place)
        chunk = whole[place : place + _AROUND + length]
        place += len(chunk)
        if not kind.isalpha():
            raise UndecodableImage("The image is a broken PNG: there is no chunk where one should begin.")
        if not kind[0] & _ANCILLARY and kind not in _PICTURE:
            raise UndecodableImage("The image is a PNG of a kind that is not read: it has a critical chunk of its own.")
        yield (kind if len(chunk) == _AROUND + length else _CUT_SHORT), chunk


def _complete_transparency(image: Image.Image, encoded: bytes) -> None:
    """Give the loaded picture of a PNG what its transparent value means for samples of other than 8 bits.

    Pillow gives that value as it is in the file, while it brings samples of 1, 2, 4 and 16 bits to 8.
    """
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and image.mode in ("1", "L"):
        white = (1 << encoded[_DEPTH]) - 1
        image.info["transparency"] = (transparent & white) * 255 // white
    elif isinstance(transparent, tuple) and encoded[_DEPTH] == 8:
        image.info["transparency"] = tuple(value & 0xFF for value in transparent)
    elif isinstance(transparent, tuple):
        del image.info["transparency"]
        image.putalpha(_opaque(image, encoded, transparent))


def _opaque(image: Image.Image, encoded: bytes, transparent: tuple[int, ...]) -> Image.Image:
    """Return 255 (mode L) where a pixel of a 16-bit RGB picture is another than the transparent one, else 0."""
    with Image.open(io.BytesIO(encoded), formats=("PNG",)) as low:
        low.tile = [tile._replace(args=_LOW_BYTES) for tile in low.tile]
        low.load()
        differing = [
            band.point([0 if value == byte else 255 for value in range(256)])
            for each, shift in ((image, 8), (low, 0))
            for band, byte in zip(each.split(), ((value >> shift) & 0xFF for value in transparent), strict=True)
        ]
    opaque = differing[0]
    for other in differing[1:]:
        opaque = ImageChops.lighter(opaque, other)
    return opaque


def _is_sound(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _says_orientation(kind: bytes, chunk: memoryview) -> bool:
    """Say whether a text may hold EXIF or XMP, and no more of it than is taken."""
    keyword, _, text = bytes(chunk[8 : 8 + 80]).partition(b"\0")
    if keyword not in _SAY_ORIENTATION:
        return False
    packed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if not packed:
        return len(chunk) <= _MAX_UNPACKED
    text = bytes(chunk[8 + len(keyword) + 1 : -4])
    return _unpacks(text[1:] if kind == b"zTXt" else text[2:].split(b"\0", 2)[-1])


def _unpacks(packed: bytes) -> bool:
    """Say whether these bytes unpack, and to no more than is taken."""
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(packed, _MAX_UNPACKED)
    except zlib.error:
        return False
    return unpacking.eof


def _colours(image: Image.Image) -> tuple[colour.Points, float] | None:
    """Return the points and the exponent of a PNG's colours, None where it says sRGB, or nothing, or what cannot be."""
    gamma, points = image.info.get("gamma"), image.info.get("chromaticity", colour.SRGB)
    if "srgb" in image.info or not isinstance(gamma, float) or not _MIN_GAMMA <= gamma <= 1:
        return None
    return tuple(points), 1 / gamma


def _is_ordinary(encoded: bytes) -> bool:
    """Say whether nothing is unusual, which Pillow reads at once. Raises struct.error or zlib.error."""
    place, metadata = len(SIGNATURE), 0
    for number in range(_MAX_CHUNKS + len(encoded) // _MIN_CHUNK):
        length, kind = struct.unpack_from(">I4s", encoded, place)
        if number == 0:
            width, height, depth, kind_of_colour = struct.unpack_from(">IIBB", encoded, place + 8)
            rows = width * height * _CHANNELS.get(kind_of_colour, 1) * depth // 8
            if kind != b"IHDR" or not 0 < width * height <= _MAX_ORDINARY_PIXELS or rows > _MAX_ROWS:
                return False
        elif kind == b"IEND":
            return True
        elif kind == b"IHDR":
            return False
        elif kind != b"IDAT":
            metadata += length
            if metadata > _MAX_PACKED_METADATA or (kind == b"tRNS" and encoded[_DEPTH] == _DEEP):
                return False
            if not _is_cheap_chunk(kind, encoded[place + 8 : place + 8 + length]):
                return False
        place += 12 + length
    return False


def _is_cheap_chunk(kind: bytes, contents: bytes) -> bool:
    """Say whether what a chunk unpacks to is read through at once."""
    if kind == b"iCCP":
        packed = contents.partition(b"\0")[2][1:]
        return colour.is_plain(zlib.decompressobj().decompress(packed, colour.MAX_PLAIN_BYTES + 1))
    return kind not in _TEXTS[1:] or not contents.startswith(_SAY_ORIENTATION[0])


PNG = Format(re.compile(re.escape(SIGNATURE)), (".png", ".apng"), PngPicture, _is_ordinary)
