"""Pictures of a few bytes that take a decoder long, or much memory, or lead it in a circle: 200 and more, by name."""

import io
import itertools
import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from fuzz.seeds import VARIANTS, picture, seeds

SIZES = ((0, 0), (1, 50_000), (50_000, 1), (7_000, 7_000), (13_400, 13_200), (65_535, 65_535))


def scan_bomb(side: int = 7_000, scans: int = 40_000) -> bytes:
    """Return a progressive JPEG that says so little of so many pixels so often that libjpeg takes minutes."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 128).save(buffer, "JPEG", progressive=True, quality=50)
    file = buffer.getvalue()
    starts = [match.start() for match in re.finditer(rb"\xff\xda", file)]
    last = file[starts[-1] : -2]
    return file[:-2] + last * scans + file[-2:]


def shared_stages(stages: int = 7_400, samples: int = 100) -> bytes:
    """Return a profile whose pipeline is one stage of curves, again and again; a stage takes eight bytes, and 7 ms."""
    segment = b"curf" + struct.pack(">IHH", 0, 1, 0) + b"samf" + struct.pack(">II", 0, samples) + bytes(4 * samples)
    curves = b"cvst" + struct.pack(">IHH", 0, 3, 3) + struct.pack(">6I", *[36, len(segment)] * 3) + segment
    place = struct.pack(">II", 16 + 8 * stages, len(curves))
    pipeline = b"mpet" + struct.pack(">IHHI", 0, 3, 3, stages) + place * stages + curves
    header = struct.pack(">I4sI4s4s4s", 144 + len(pipeline), b"lcms", 0x0440_0000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(88)
    return header + struct.pack(">I4sII", 1, b"D2B0", 144, len(pipeline)) + pipeline


def with_profile(jpeg: bytes, profile: bytes, segment: int = 65_000) -> bytes:
    """Return a JPEG with a profile in segments of so many bytes, 255 at most."""
    pieces = [profile[start : start + segment] for start in range(0, len(profile), segment)][:255]
    markers = (
        b"\xff\xe2" + struct.pack(">H", len(piece) + 16) + b"ICC_PROFILE\0" + bytes([number, len(pieces)]) + piece
        for number, piece in enumerate(pieces, start=1)
    )
    return jpeg[:2] + b"".join(markers) + jpeg[2:]


def png_chunk(kind: bytes, contents: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def png(*before_data: bytes, width: int = 8, height: int = 8, data: bytes | None = None) -> bytes:
    """Return a grey PNG with these chunks ahead of its data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes((width + 1) * height)) if data is None else data
    chunks = (png_chunk(b"IHDR", header), *before_data, png_chunk(b"IDAT", data), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def white_png(width: int, height: int) -> bytes:
    """Return a 1-bit PNG of any size, made row by row."""
    deflate = zlib.compressobj(9)
    row = b"\0" + b"\xff" * ((width + 7) // 8)
    data = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """Return a GIF whose screen and whose first frame have different sizes; its data are 100 pixels."""
    buffer = io.BytesIO()
    Image.new("P", (10, 10)).save(buffer, "GIF")
    file = bytearray(buffer.getvalue())
    struct.pack_into("<HH", file, 6, *screen)
    struct.pack_into("<HH", file, file.index(b",\0\0\0\0") + 5, *frame)
    return bytes(file)


def gif_of_frames(frames: int) -> bytes:
    """Return a GIF of many frames."""
    one = gif((10, 10), (10, 10))
    start = one.index(b",\0\0\0\0")
    return one[:start] + one[start:-1] * frames + b";"


def tiff(entries: list[tuple[int, int, int, int]], following: int = 0, data: bytes = bytes(64)) -> bytes:
    """Return a TIFF of one directory: (tag, type, count, value), and where the next directory is."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + struct.pack("<I", following) + data


def _grey_tiff(width: int, height: int, compression: int = 1, following: int = 0) -> bytes:
    sizes = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    return tiff([*sizes, (273, 4, 1, 130), (278, 4, 1, height), (279, 4, 1, 64)], following)


def _bmp(width: int, height: int, compression: int, bits: int = 8) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 64, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 2_000, 0, 0, 1_078) + header + bytes(1_024) + b"\xff\x01" * 32


def hand_made() -> Iterator[tuple[str, bytes]]:
    """Yield names and files; none has more than a megabyte."""
    yield from _sizes()
    yield from _metadata()
    yield from _circles()
    yield from _cut()
    yield from _strangers()


def _sizes() -> Iterator[tuple[str, bytes]]:
    for width, height in SIZES:
        name = f"{width}x{height}"
        yield f"PNG {name}", png(width=width, height=height, data=zlib.compress(bytes(64)))
        yield f"GIF screen {name}", gif((width, height), (10, 10))
        yield f"GIF frame {name}", gif((10, 10), (width, height))
        for compression in (1, 2, 3, 4, 5, 7, 8, 32_773, 50_000, 34_925):
            yield f"TIFF {compression} {name}", _grey_tiff(width, height, compression)
        for compression in (0, 1, 2, 3):
            yield f"BMP {compression} {name}", _bmp(width, height, compression)
        for number, file in enumerate(seeds("JPEG")):
            yield f"JPEG {number} {name}", file.replace(struct.pack(">HH", 47, 61), struct.pack(">HH", height, width))
        for number, file in enumerate(seeds("JPEG2000")):
            yield (
                f"JPEG2000 {number} {name}",
                file.replace(struct.pack(">II", 61, 47), struct.pack(">II", width, height)),
            )
        for file_format in ("AVIF", "HEIF"):
            for number, file in enumerate(seeds(file_format)):
                claimed = struct.pack(">II", width, height)
                yield f"{file_format} {number} {name}", file.replace(struct.pack(">II", 61, 47), claimed)
    yield "177 megapixels", white_png(13_400, 13_200)
    yield "BMP upside down", _bmp(8, -8, 0)
    yield "BMP of no height", _bmp(8, -(2**31), 1)


def _metadata() -> Iterator[tuple[str, bytes]]:
    bomb = zlib.compress(bytes(40_000_000), 9)
    yield "iCCP bomb", png(png_chunk(b"iCCP", b"a\0\0" + bomb))
    yield "zTXt bomb", png(png_chunk(b"zTXt", b"a\0\0" + bomb))
    yield "iTXt bomb", png(png_chunk(b"iTXt", b"a\0\1\0\0\0" + bomb))
    yield "hundred zTXt bombs", png(*[png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))] * 100)
    yield "IDAT bomb", png(data=bomb)
    yield (
        "eXIf of 65,535 entries",
        png(png_chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\3\0\1\0\0\0" * 90_000)),
    )
    yield "20,000 empty IDATs", png(*[png_chunk(b"IDAT", b"")] * 20_000)
    yield "20,000 unknown chunks", png(*[png_chunk(b"abCd", b"")] * 20_000)
    jpeg = seeds("JPEG")[0]
    yield "JPEG with 200,000 comments", jpeg[:2] + b"\xff\xfe\0\2" * 200_000 + jpeg[2:]
    yield "JPEG with fill bytes", jpeg[:2] + b"\xff" * 900_000 + jpeg[2:]
    yield (
        "JPEG with a profile of 0xFF",
        jpeg[:2] + b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0\1\1" + b"\xff" * 65_519 + jpeg[2:],
    )
    yield "JPEG scan bomb", scan_bomb(2_000, 2_000)
    for size in (65_000, 4_000):
        yield f"JPEG with shared stages in segments of {size}", with_profile(jpeg, shared_stages(), size)
    yield "PNG with shared stages", png(png_chunk(b"iCCP", b"a\0\0" + zlib.compress(shared_stages(), 9)))


def _circles() -> Iterator[tuple[str, bytes]]:
    yield "TIFF directory that follows itself", _grey_tiff(8, 8, 1, 8)
    yield "TIFF directory beyond the end", _grey_tiff(8, 8, 1, 2**32 - 1)
    yield "TIFF of 5,000 equal tags", tiff([(256, 4, 1, 8)] * 5_000)
    yield "TIFF with EXIF that is itself", tiff([(34_665, 4, 1, 8), (330, 4, 1, 8), (256, 4, 1, 8), (257, 4, 1, 8)])
    for count in (0, 2**16, 2**28, 2**32 - 1):
        for tag, kind in itertools.product((258, 273, 279, 320, 700, 34_675), (1, 2, 4, 5)):
            yield (
                f"TIFF tag {tag} of {count} of kind {kind}",
                tiff([(256, 4, 1, 8), (257, 4, 1, 8), (262, 3, 1, 1), (tag, kind, count, 8)]),
            )
    yield "GIF of 10,000 frames", gif_of_frames(10_000)
    yield (
        "GIF of 100,000 comments",
        gif((8, 8), (8, 8))[:-1].replace(b",\0\0\0\0", b"!\xfe\0" * 100_000 + b",\0\0\0\0") + b";",
    )
    jp2 = seeds("JPEG2000")[0]
    yield "JP2 box of no length", jp2[:12] + struct.pack(">I", 0) + jp2[16:]
    yield "JP2 box of one byte", jp2[:12] + struct.pack(">I", 1) + b"jp2h" + struct.pack(">Q", 2**63) + jp2[20:]


def _cut() -> Iterator[tuple[str, bytes]]:
    for file_format in VARIANTS:
        for number, file in enumerate(seeds(file_format)):
            yield f"half a {file_format} {number}", file[: len(file) // 2]
            yield f"head of a {file_format} {number}", file[:40]


def _strangers() -> Iterator[tuple[str, bytes]]:
    heads = [file[:16] for file_format in VARIANTS for file in seeds(file_format)[:1]]
    for first, second in itertools.permutations(range(len(heads)), 2):
        yield f"head {first} before head {second}", heads[first] + heads[second] + bytes(100)
    for text in (b"", b"\0", b"<svg/>", b"%PDF-1.7\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<!DOCTYPE html>", b"GIF89a"):
        yield f"stranger {text!r}", text
    for file_format in ("PPM", "ICO", "TGA", "PCX", "DDS", "SGI", "ICNS", "PDF", "EPS", "IM", "MSP"):
        buffer = io.BytesIO()
        picture("1" if file_format == "MSP" else "RGB").save(buffer, file_format)
        yield f"a {file_format}", buffer.getvalue()


def profile(tags: dict[bytes, bytes], kind: bytes = b"mntr", space: bytes = b"RGB ", version: int = 4) -> bytes:
    """Return an ICC profile with these tags; those of equal contents are stored once."""
    places: dict[bytes, int] = {}
    place = 132 + 12 * len(tags)
    for contents in tags.values():
        if contents not in places:
            places[contents] = place
            place += len(contents) + -len(contents) % 4
    table = b"".join(struct.pack(">4sII", tag, places[contents], len(contents)) for tag, contents in tags.items())
    header = struct.pack(">I4sI4s4s4s", place, b"lcms", version << 24, kind, space, b"XYZ ")
    header += struct.pack(">6H4s4s", 2026, 1, 1, 0, 0, 0, b"acsp", b"APPL").ljust(44, b"\0")
    white = struct.pack(">iii", 63_190, 65_536, 54_061)
    filled = b"".join(contents.ljust(len(contents) + -len(contents) % 4, b"\0") for contents in places)
    return (header + white).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + filled


def profile_of_stages(stages: int, segments: int = 60, kind: bytes = b"D2B0") -> bytes:
    """Return a profile of three colours that go so many times through one curve of segments, which is stored once.

    Little CMS takes minutes to make a table of 33 colours a side of it.
    """
    breaks = struct.pack(f">{segments - 1}f", *(2 + number for number in range(segments - 1)))
    segment = b"parf\0\0\0\0" + struct.pack(">HHffff", 0, 0, 1.01, 1, 0, 0)
    curve = b"curf\0\0\0\0" + struct.pack(">HH", segments, 0) + breaks + segment * segments
    curves = b"cvst\0\0\0\0" + struct.pack(">HH", 3, 3) + struct.pack(">II", 36, len(curve)) * 3 + curve
    begin = 16 + 8 * stages
    pipeline = b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, stages) + struct.pack(">II", begin, len(curves)) * stages
    named = b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", 2, 28) + b"\0x"
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63_190, 65_536, 54_061)
    return profile({b"desc": named, b"wtpt": white, kind: pipeline + curves})


def jpeg_with_profile(icc: bytes, segment: int = 65_519) -> bytes:
    """Return a JPEG with a profile in APP2 segments of so many bytes."""
    jpeg = seeds("JPEG")[0]
    parts = [icc[start : start + segment] for start in range(0, len(icc), segment)]
    segments = (
        b"\xff\xe2" + struct.pack(">H", 16 + len(part)) + b"ICC_PROFILE\0" + bytes((number, len(parts))) + part
        for number, part in enumerate(parts, 1)
    )
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def costly(side: int = 7_000) -> Iterator[tuple[str, bytes]]:
    """Yield small files of every format that take a decoder, or Little CMS, seconds for each kilobyte, by name."""
    icc = profile_of_stages(6_800)
    yield "JPEG, profile in parts", jpeg_with_profile(icc, 4_000)
    yield "JPEG, small profile", jpeg_with_profile(profile_of_stages(200))
    yield "JPEG, scans", scan_bomb(side, 40_000)
    yield "PNG, profile", _saved("PNG", 64, icc_profile=icc)
    rgb = _saved("PNG", 64)
    yield "PNG, profile behind its data", rgb[:-12] + png_chunk(b"iCCP", b"a\0\0" + zlib.compress(icc)) + rgb[-12:]
    yield "PNG, pixels", white_png(side, side)
    yield "PNG, EXIF", png(png_chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\3\0\1\0\0\0" * 90_000))
    for file_format in ("TIFF", "WEBP", "AVIF"):
        yield f"{file_format}, profile", _saved(file_format, 64, icc_profile=icc)
    yield "TIFF, pixels", _saved("TIFF", side, compression="tiff_lzw")
    yield "TIFF, rows", _saved("TIFF", side, compression="packbits", tiffinfo={278: 1})
    yield "WebP, pixels", _saved("WEBP", side, method=0)
    yield "AVIF, pixels", _saved("AVIF", side // 2, speed=10)
    yield "GIF, pixels", _saved("GIF", side)
    yield "GIF, frames", gif_of_frames(100_000)
    yield "BMP, runs", _bmp(side, side, 1)
    yield "BMP, ends of rows", _bmp(side, side, 1)[:1_078] + b"\0\0" * side + b"\0\1"
    yield "JPEG 2000, tiles", _saved("JPEG2000", side // 2, tile_size=(16, 16), num_resolutions=1)
    yield "JPEG 2000, layers", _saved("JPEG2000", side // 4, quality_layers=list(range(100, 1, -1)))
    yield "JPEG 2000, resolutions", _saved("JPEG2000", side // 2, num_resolutions=12)


def _saved(file_format: str, side: int, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "grey").save(buffer, file_format, **options)
    return buffer.getvalue()
