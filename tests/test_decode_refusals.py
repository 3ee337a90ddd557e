"""What is no picture, a broken one or too large a one is refused with its own error, at once and without memory."""

import io
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from service.errors import ImageDimensions, ImageTooLarge, UndecodableImage, UnsupportedImageFormat
from service.images.decode import ImageLimits, decode
from tests.conftest import encoded, noise

LIMITS = ImageLimits(max_bytes=1024**2, max_pixels=50_000_000)

GOOD: dict[str, tuple[str, dict[str, object]]] = {
    "JPEG": ("JPEG", {}),
    "progressive JPEG": ("JPEG", {"progressive": True}),
    "PNG": ("PNG", {}),
    "WebP": ("WEBP", {}),
    "lossless WebP": ("WEBP", {"lossless": True}),
    "GIF": ("GIF", {}),
    "TIFF": ("TIFF", {}),
    "TIFF with LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF with JPEG": ("TIFF", {"compression": "jpeg"}),
    "BMP": ("BMP", {}),
    "AVIF": ("AVIF", {}),
    "JPEG 2000": ("JPEG2000", {}),
    "JPEG 2000 of tiles": ("JPEG2000", {"tile_size": (16, 16), "no_jp2": True}),
}


def good(name: str) -> bytes:
    file_format, options = GOOD[name]
    return encoded(noise(61, 47), file_format, **options)


def chunk(kind: bytes, contents: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def white_png(width: int, height: int) -> bytes:
    """Return a 1-bit PNG of any size, made row by row."""
    deflate = zlib.compressobj(9)
    row = b"\0" + b"\xff" * ((width + 7) // 8)
    data = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """Return a GIF whose header and whose first frame say different sizes; its data are 100 pixels."""
    file = bytearray(encoded(Image.new("P", (10, 10)), "GIF"))
    struct.pack_into("<HH", file, 6, *screen)
    struct.pack_into("<HH", file, file.index(b",\0\0\0\0") + 5, *frame)
    return bytes(file)


def replaced(name: str, old: bytes, new: bytes) -> bytes:
    """Return a good file in which the header says another size."""
    file = good(name)
    assert old in file
    return file.replace(old, new, 1)


def webp_of_canvas(width: int, height: int) -> bytes:
    """Return an animated WebP whose canvas is far larger than its frames."""
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    file = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    place = file.index(b"VP8X") + 12
    file[place : place + 6] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(file)


def other_format(file_format: str, mode: str = "RGB") -> bytes:
    return encoded(noise(16, 16, mode), file_format)


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\0",
        b"A picture of a river.",
        "Ein Bild von einem Fluß.".encode("utf-16"),
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"<!DOCTYPE html><title>Not found</title>",
        b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 16, 16, 8, 3) + bytes(1000),
        b"PK\3\4" + bytes(60),
        b"\xff\xd8\xff",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x04\0\0\0WAVE",
        other_format("PPM"),
        other_format("ICO"),
        other_format("TGA"),
        other_format("PCX"),
        other_format("DDS"),
        other_format("SGI"),
        other_format("ICNS"),
        other_format("QOI"),
        other_format("PDF"),
        other_format("EPS"),
        other_format("XBM", "1"),
    ],
    ids=range(25),
)
def test_what_is_no_allowed_format_is_not_opened(file: bytes) -> None:
    with pytest.raises(UnsupportedImageFormat):
        decode(file, LIMITS)


@pytest.mark.parametrize("name", GOOD)
def test_a_truncated_file_is_refused_and_never_half_grey(name: str) -> None:
    file = good(name)
    whole = decode(file, LIMITS).rgb.tobytes()
    kept = 0
    # Every length of a small file would take long; a step without a divisor meets all kinds of places.
    for length in [*range(0, len(file), 37), *range(max(0, len(file) - 40), len(file))]:
        try:
            seen = decode(file[:length], LIMITS).rgb.tobytes()
        except (UndecodableImage, UnsupportedImageFormat):
            continue
        # What is missing is only what follows the last pixel.
        assert seen == whole, f"{length} of {len(file)} bytes"
        kept += 1
    assert kept <= 40


@pytest.mark.parametrize(("name", "tiles"), [("JPEG 2000", 1), ("JPEG 2000 of tiles", 12)])
def test_a_jpeg_2000_cut_where_a_tile_begins_is_refused(name: str, tiles: int) -> None:
    file = good(name)
    beginnings = [place for place in range(len(file)) if file.startswith(b"\xff\x90\0\x0a", place)]
    assert len(beginnings) == tiles
    # Behind a tile's first marker, of two bytes, OpenJPEG takes the end of the file for the end of the picture.
    for length in (beginning + more for beginning in beginnings for more in (0, 2)):
        with pytest.raises(UndecodableImage):
            decode(file[:length], LIMITS)


TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "177 megapixels in 38 kB": lambda: white_png(13_400, 13_200),
    "one row too many": lambda: white_png(7_072, 7_071),
    "JPEG": lambda: replaced("JPEG", struct.pack(">HH", 47, 61), struct.pack(">HH", 60_000, 60_000)),
    "BMP": lambda: replaced("BMP", struct.pack("<ii", 61, 47), struct.pack("<ii", 60_000, 60_000)),
    "JPEG 2000": lambda: replaced("JPEG 2000 of tiles", struct.pack(">II", 61, 47), struct.pack(">II", 60_000, 60_000)),
    "GIF's screen": lambda: gif((60_000, 60_000), (10, 10)),
    "GIF's frame": lambda: gif((10, 10), (60_000, 60_000)),
    "GIF's frame below Pillow's own limit": lambda: gif((10, 10), (9_000, 9_000)),
    "GIF's frame that is to be wiped": lambda: gif((10, 10), (20_000, 20_000)).replace(
        b",\0\0\0\0", b"!\xf9\4\x08\0\0\0\0,\0\0\0\0"
    ),
    "WebP's canvas": lambda: webp_of_canvas(16_384, 16_384),
}
MEASURE = """
import resource, sys
from pathlib import Path
from service.errors import ImageDimensions
from service.images.decode import ImageLimits, decode

def refused(file):
    try:
        decode(file, ImageLimits(10**6, 50_000_000))
    except ImageDimensions:
        return True

files = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
decode(files[0], ImageLimits(10**6, 50_000_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert all(refused(file) for file in files[1:])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("name", TOO_LARGE)
def test_too_many_pixels_are_refused_at_once(name: str) -> None:
    file = TOO_LARGE[name]()
    assert len(file) < 40_000
    begun = time.monotonic()
    with pytest.raises(ImageDimensions):
        decode(file, LIMITS)
    assert time.monotonic() - begun < 1


def test_pictures_of_too_many_pixels_take_no_memory(tmp_path: Path) -> None:
    # In a process of its own: the peak of this one may lie above what a decoded picture takes.
    (tmp_path / "0 good").write_bytes(good("PNG"))
    for number, make in enumerate(TOO_LARGE.values(), start=1):
        (tmp_path / f"{number}").write_bytes(make())
    measured = subprocess.run([sys.executable, "-c", MEASURE, tmp_path], capture_output=True, check=True, text=True)
    assert int(measured.stdout) < 50


def test_a_gifs_frame_larger_than_its_screen_is_seen_whole() -> None:
    assert decode(gif((4, 4), (10, 10)), LIMITS).rgb.size == (10, 10)


def test_the_limit_of_pixels_is_exact() -> None:
    file = encoded(noise(20, 10))
    assert decode(file, ImageLimits(10**6, 200)).rgb.size == (20, 10)
    with pytest.raises(ImageDimensions, match="1 to 199 pixels"):
        decode(file, ImageLimits(10**6, 199))


def test_the_limit_of_bytes_is_exact() -> None:
    file = encoded(noise(20, 10))
    assert decode(file, ImageLimits(len(file), 200)).rgb.size == (20, 10)
    with pytest.raises(ImageTooLarge, match=f"more than the {len(file) - 1} bytes"):
        decode(file, ImageLimits(len(file) - 1, 200))


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (100, 1), (2, 200)])
def test_small_and_long_pictures_are_taken(size: tuple[int, int]) -> None:
    assert decode(encoded(noise(*size)), LIMITS).rgb.size == size


@pytest.mark.parametrize("size", [(1, 101), (101, 1), (1, 50_000), (2, 201)])
def test_longer_shapes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageDimensions, match="at most 100 times its short side"):
        decode(encoded(noise(*size)), LIMITS)


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_a_thousand_frames_cost_no_more_than_one(file_format: str) -> None:
    frames = [Image.new("L", (4, 4), number * 83 % 256).convert("RGB") for number in range(1000)]
    file = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], lossless=True)
    with Image.open(io.BytesIO(file)) as opened:
        assert getattr(opened, "n_frames", 1) == 1000
    begun = time.monotonic()
    decode(file, LIMITS)
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("name", GOOD)
def test_mutated_files_decode_or_are_refused(name: str) -> None:
    file = good(name)
    random = np.random.default_rng(20)
    refused = 0
    for _ in range(100):
        mutated = bytearray(file)
        # Half of the changes hit the headers, which are a small part of the file.
        for end in (len(file), 300, len(file), 300)[: random.integers(1, 5)]:
            mutated[random.integers(min(end, len(file)))] = random.integers(256)
        begun = time.monotonic()
        try:
            assert decode(bytes(mutated), LIMITS).rgb.mode == "RGB"
        except (UndecodableImage, UnsupportedImageFormat, ImageDimensions):
            refused += 1
        assert time.monotonic() - begun < 5
    assert refused > 0


def test_random_bytes_behind_a_good_beginning_are_refused() -> None:
    random = np.random.default_rng(21)
    for name in GOOD:
        file = good(name)
        for length in (20, 60, 200):
            with pytest.raises((UndecodableImage, UnsupportedImageFormat, ImageDimensions)):
                decode(file[:length] + random.bytes(500), LIMITS)


def test_errors_carry_nothing_of_the_file() -> None:
    with pytest.raises(UnsupportedImageFormat) as raised:
        decode(b"secret words", LIMITS)
    assert "secret" not in raised.value.detail
    assert raised.value.detail == UnsupportedImageFormat.default_detail
    assert not isinstance(raised.value.__cause__, UnidentifiedImageError)


# Where a JPEG may be decoded at a fraction of its size, it is refused for the same reasons.


def test_limits_hold_where_a_fraction_is_decoded() -> None:
    file = encoded(noise(400, 300), "JPEG")
    assert decode(file, ImageLimits(len(file), 1_900), 30).rgb.size == (50, 38)
    with pytest.raises(ImageDimensions, match="1 to 1899 pixels"):
        decode(file, ImageLimits(len(file), 1_899), 30)
    with pytest.raises(ImageTooLarge):
        decode(file, ImageLimits(len(file) - 1, 120_000), 30)
    with pytest.raises(ImageDimensions, match="at most 100 times its short side"):
        decode(encoded(noise(101, 1), "JPEG"), LIMITS, 1)
    with pytest.raises(ImageDimensions):
        decode(TOO_LARGE["JPEG"](), LIMITS, 448)


def test_what_a_header_claims_is_bounded_though_a_fraction_would_be_small() -> None:
    frame = struct.pack(">BHH", 8, 300, 400)
    file = encoded(noise(400, 300), "JPEG")
    assert frame in file
    with pytest.raises(ImageDimensions, match="1 to 2000000000 pixels"):
        decode(file.replace(frame, struct.pack(">BHH", 8, 45_000, 45_000)), ImageLimits(len(file), 50_000_000), 30)


@pytest.mark.parametrize("name", ["JPEG", "progressive JPEG"])
def test_a_truncated_jpeg_is_refused_at_a_fraction_of_its_size_too(name: str) -> None:
    file_format, options = GOOD[name]
    file = encoded(noise(244, 188), file_format, **options)
    whole = decode(file, LIMITS, 30, fast=True).rgb.tobytes()
    kept = 0
    for length in [*range(0, len(file), 97), *range(len(file) - 40, len(file))]:
        try:
            seen = decode(file[:length], LIMITS, 30, fast=True).rgb.tobytes()
        except (UndecodableImage, UnsupportedImageFormat):
            continue
        assert seen == whole, f"{length} of {len(file)} bytes"
        kept += 1
    assert kept <= 40


def test_mutated_jpegs_decode_at_a_fraction_of_their_size_or_are_refused() -> None:
    file = encoded(noise(244, 188), "JPEG")
    random = np.random.default_rng(22)
    refused = 0
    for _ in range(200):
        mutated = bytearray(file)
        for end in (len(file), 300, len(file), 300)[: random.integers(1, 5)]:
            mutated[random.integers(min(end, len(file)))] = random.integers(256)
        try:
            decoded = decode(bytes(mutated), LIMITS, 30, fast=True)
        except (UndecodableImage, UnsupportedImageFormat, ImageDimensions):
            refused += 1
        else:
            assert decoded.rgb.mode == "RGB"
            assert decoded.width >= decoded.rgb.width
            assert decoded.height >= decoded.rgb.height
    assert 0 < refused < 200


def test_a_progressive_jpeg_that_lacks_memory_is_told_why() -> None:
    file = encoded(noise(244, 188), "JPEG", progressive=True)
    with pytest.raises(ImageDimensions, match="progressive JPEG, of which all must be in memory at once"):
        decode(file[:-200], LIMITS, before_pixels=lambda _bytes: False)
    assert decode(file, LIMITS, before_pixels=lambda _bytes: False).rgb.size == (244, 188)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_of_fewer_bytes_than_its_pixels_take_is_broken(options: dict[str, bool]) -> None:
    file = encoded(noise(40, 30), "JPEG", **options)
    large = file.replace(struct.pack(">BHH", 8, 30, 40), struct.pack(">BHH", 8, 990, 1000))
    assert 512 * len(large) < 1000 * 990
    with pytest.raises(UndecodableImage):
        decode(large, LIMITS, 30)


def test_a_large_jpeg_2000_of_few_bytes_is_not_decoded_small() -> None:
    file = encoded(Image.new("RGB", (1200, 1000)), "JPEG2000", num_resolutions=6)
    assert 512 * len(file) < 1200 * 1000
    with pytest.raises(ImageDimensions, match="1 to 1000000 pixels"):
        decode(file, ImageLimits(LIMITS.max_bytes, 1_000_000), 100)
