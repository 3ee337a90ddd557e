"""Files and bodies that say much in few bytes, made at random: what fuzz.costs grows its candidates from."""

import functools
import io
import json
import struct
import zlib
from collections.abc import Callable

from numpy.random import Generator

from fuzz.bombs import png_chunk, with_profile
from fuzz.containers import MOST_BYTES, any_bytes, heif, jpeg_2000, often, tiff, times
from fuzz.mutation import mutated
from fuzz.seeds import VARIANTS, seeds

_ICC_SPACES = (*[b"RGB "] * 4, b"GRAY", b"CMYK", b"Lab ")
_ICC_CLASSES = (*[b"mntr"] * 4, b"scnr", b"prtr", b"link", b"spac", b"abst", b"nmcl")
_ICC_TAGS = {
    b"curv": (b"rTRC", b"gTRC", b"bTRC", b"kTRC"),
    b"para": (b"rTRC", b"gTRC", b"bTRC", b"kTRC"),
    b"mft2": (b"A2B0", b"A2B1", b"B2A0", b"gamt"),
    b"mAB ": (b"A2B0", b"A2B1", b"B2A0"),
    b"mpet": (b"D2B0", b"D2B1", b"B2D0"),
}
"""Of each type of a tag's data, the tags that may have it; a profile may give it to any other as well."""


# --- colour profiles and EXIF: they can be in most formats ---


def icc_profile(random: Generator, most: int = MOST_BYTES // 2) -> bytes:
    """Return a profile of ICC.1:2022 whose tags may share their data, and elements of whose tags may as well."""
    contents = [_icc_tag(random, most // 4) for _ in range(often(random, 6))]
    # No name twice: Little CMS refuses that at once.
    named: dict[bytes, int] = {}
    for _ in range(often(random, 12)):
        chosen = int(random.integers(len(contents)))
        kind = contents[chosen][:4] if random.random() < 0.8 else random.choice(list(_ICC_TAGS)).ljust(4)
        named[_ICC_TAGS[kind][int(random.integers(len(_ICC_TAGS[kind])))]] = chosen
    start = 132 + 12 * len(named)
    places, data = [], b""
    for content in contents:
        places.append((start + len(data), len(content)))
        data += content + bytes(-len(content) % 4)
    table = b"".join(struct.pack(">4sII", name, *places[chosen]) for name, chosen in named.items())
    space = _ICC_SPACES[int(random.integers(len(_ICC_SPACES)))]
    connection = (b"XYZ ", b"Lab ")[int(random.integers(2))]
    kind = _ICC_CLASSES[int(random.integers(len(_ICC_CLASSES)))]
    version = (0x0240_0000, 0x0440_0000, 0x0500_0000)[int(random.integers(3))]
    header = struct.pack(">I4sI4s4s4s", start + len(data), b"lcms", version, kind, space, connection)
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(128 - len(header) - 16)
    return header + struct.pack(">I", len(named)) + table + data


def _icc_tag(random: Generator, most: int) -> bytes:
    """Return a curve, a table, or a pipeline whose stages are one and the same."""
    samples = often(random, most // 2)
    curve = b"curv" + struct.pack(">II", 0, samples) + any_bytes(random, 2 * samples)
    kind = int(random.integers(5))
    if kind == 0:
        return curve
    if kind == 1:
        return b"para" + struct.pack(">IHH7i", 0, int(random.integers(5)), 0, *[1 << 16] * 7)
    channels = int(random.integers(1, 5))
    grid = int(random.integers(2, 34))
    if kind == 2:
        return (
            b"mft2"
            + struct.pack(">IBBBB9i", 0, channels, 3, grid, 0, *[1 << 16] * 9)
            + struct.pack(">HH", 4096, 4096)
            + any_bytes(random, most)
        )
    if kind == 3:
        offsets = struct.pack(">5I", 32, 32, 32, 32, 32)
        return b"mAB " + struct.pack(">IBBH", 0, channels, 3, 0) + offsets + curve
    stages = often(random, most // 8)
    segments = b"curf" + struct.pack(">IHH", 0, 1, 0) + b"samf" + struct.pack(">II", 0, samples) + bytes(4 * samples)
    element = b"cvst" + struct.pack(">IHH", 0, 3, 3) + struct.pack(">6I", *[36, len(segments)] * 3) + segments
    start = 16 + 8 * stages
    return b"mpet" + struct.pack(">IHHI", 0, 3, 3, stages) + struct.pack(">II", start, len(element)) * stages + element


def exif(random: Generator, most: int = MOST_BYTES // 2) -> bytes:
    """Return EXIF whose directories lead to each other and whose entries are long."""
    entries = often(random, most // 12)
    tags = (0x8769, 0x8825, 0xA005, 0x0112, 0x014A, 0x927C, 0x9286)
    table = b"".join(
        struct.pack(
            "<HHII",
            tags[int(random.integers(len(tags)))],
            int(random.integers(1, 14)),
            often(random, most),
            int(random.choice((8, 0, 26, most))),
        )
        for _ in range(entries)
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", min(entries, 65_535)) + table + struct.pack("<I", 8)


# --- pictures: parts that a format allows, as often as they fit ---


def _jpeg(file: bytes, random: Generator) -> bytes:
    kind = int(random.integers(5))
    if kind == 0:
        return with_profile(file, icc_profile(random), int(random.choice((300, 4_000, 65_000))))
    if kind == 1:
        segment = b"Exif\0\0" + exif(random, 60_000)
        return file[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + file[2:]
    if kind == 2:
        marker = int(random.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE)))
        body = any_bytes(random, often(random, 1000))
        return file[:2] + times(random, bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body) + file[2:]
    scan = file.rfind(b"\xff\xda")
    return file[:-2] + times(random, file[scan:-2]) + file[-2:] if kind == 3 else _of_size(file, b"\xff\xc0", 5, random)


def _of_size(file: bytes, mark: bytes, offset: int, random: Generator) -> bytes:
    """Return the file with other dimensions, two big-endian shorts behind a mark."""
    place = file.find(mark)
    if place < 0:
        return file
    sides = struct.pack(">HH", often(random, 20_000), often(random, 20_000))
    return file[: place + offset] + sides + file[place + offset + 4 :]


@functools.cache
def _packed(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes * 1_000_000), 9)


def _png(file: bytes, random: Generator) -> bytes:
    kind = int(random.integers(6))
    packed = _packed(often(random, 50))
    chunk = (
        lambda: png_chunk(b"iCCP", b"a\0\0" + zlib.compress(icc_profile(random), 9)),
        lambda: png_chunk(b"zTXt", b"a\0\0" + packed),
        lambda: png_chunk(b"iTXt", b"a\0\1\0\0\0" + packed),
        lambda: png_chunk(b"eXIf", exif(random)),
        lambda: png_chunk(bytes(random.choice(list(b"abcdEFTt"), 4).astype("u1")), random.bytes(often(random, 100))),
        lambda: png_chunk(b"IDAT", b"") if random.random() < 0.5 else png_chunk(b"IDAT", packed),
    )[kind]()
    place = file.find(b"IDAT") - 4
    return file[:place] + (times(random, chunk) if random.random() < 0.5 else chunk) + file[place:]


def _riff(file: bytes, random: Generator) -> bytes:
    content = (icc_profile, exif)[int(random.integers(2))](random)
    name = (b"ICCP", b"EXIF", b"XMP ", b"ANMF", b"ALPH")[int(random.integers(5))]
    chunk = name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    extended = (
        b"VP8X" + struct.pack("<I", 10) + bytes([int(random.integers(64)), 0, 0, 0]) + bytes([60, 0, 0, 46, 0, 0])
    )
    body = b"WEBP" + extended + times(random, chunk) + file[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _gif(file: bytes, random: Generator) -> bytes:
    place = file.find(b",\0\0\0\0")
    block = b"!" + bytes([int(random.choice((0xFE, 0xFF, 0xF9, 0x01)))]) + b"\4" + random.bytes(4) + b"\0"
    part = (block, file[place:-1])[int(random.integers(2))]
    return file[:place] + times(random, part) + file[place:]


def _anywhere(file: bytes, random: Generator) -> bytes:
    """Return the file with a part of it repeated as often as fits, or a profile or EXIF in it."""
    place = int(random.integers(len(file) + 1))
    end = min(len(file), place + often(random, max(2, len(file) // 2)))
    content = (lambda: times(random, file[place:end]), lambda: icc_profile(random), lambda: exif(random))
    return file[:place] + content[int(random.integers(3))]() + file[place:]


_GROWN: dict[str, Callable[[bytes, Generator], bytes]] = {
    "JPEG": _jpeg,
    "MPO": _jpeg,
    "PNG": _png,
    "WEBP": _riff,
    "GIF": _gif,
    "TIFF": tiff,
    "AVIF": heif,
    "HEIF": heif,
    "JPEG2000": jpeg_2000,
}


def grown_picture(file_format: str, parent: bytes | None, random: Generator) -> bytes:
    """Return a picture of a format, changed or grown from a parent, or from a good one."""
    files = seeds(file_format)
    file = parent or files[int(random.integers(len(files)))]
    for _ in range(int(random.integers(1, 4))):
        choice = random.random()
        if choice < 0.4:
            file = _GROWN.get(file_format, _anywhere)(file, random)
        elif choice < 0.6:
            file = _anywhere(file, random)
        else:
            file = mutated(file_format, (file, *files), random)
    return file[: 2 * MOST_BYTES] or files[0]


# --- bodies: what a grammar allows, nested and repeated ---


def _nested(random: Generator) -> bytes:
    opening, closing = ((b"[", b"]"), (b'{"a":', b"}"), (b'[{"":', b"}]"))[int(random.integers(3))]
    depth = often(random, 1000)
    inner = (b"", b"0", b'""', b"null", b"1e308", b"9" * 4000, b'"\\ud800"')[int(random.integers(7))] or b"0"
    return opening * depth + inner + closing * depth


def _values(random: Generator) -> bytes:
    value = (_nested(random), b"0", b"{}", b"[]", b'""', b"-1.5e-300", b'"' + b"\\u00e9" * 9 + b'"')
    chosen = value[int(random.integers(len(value)))]
    return b"[" + times(random, chosen + b",")[:-1] + b"]"


def _fields(random: Generator) -> bytes:
    count = often(random, 10_000)
    value = _values(random) if count < 10 else b"0"
    return b"{" + b",".join(b'"%d":%b' % (number, value) for number in range(count)) + b"}"


def json_body(parent: bytes | None, random: Generator) -> bytes:
    """Return a JSON body in which something is deep, or there is much of it."""
    if parent and random.random() < 0.5:
        return _anywhere(parent, random)[: 2 * MOST_BYTES]
    grown = (_nested, _values, _fields)[int(random.integers(3))](random)
    name = ("image", "images", "lists", "phrases", "template", "include", "queries", "x", "top_k")[
        int(random.integers(9))
    ]
    good = {"image": {"base64": "AAAA"}, "lists": ["movements"], name: None}
    return json.dumps(good).encode().replace(b"null", grown)


def form_body(parent: bytes | None, random: Generator) -> bytes:
    """Return a form's body, whose boundary is `b`, with many headers, parts, or things that look like either."""
    if parent and random.random() < 0.5:
        return _anywhere(parent, random)[: 2 * MOST_BYTES]
    field = b'--b\r\nContent-Disposition: form-data; name="phrases"\r\n'
    parts = (
        lambda: field + times(random, b"a: b\r\n") + b"\r\na\r\n",
        lambda: field + b"a: " + any_bytes(random, often(random, MOST_BYTES)) + b"\r\n\r\na\r\n",
        lambda: times(random, field + b"\r\na\r\n"),
        lambda: (
            field
            + b"\r\n"
            + times(random, (b"\r\n--", b"\r\n-", b"\n", b"\r", b"--b")[int(random.integers(5))])
            + b"\r\n"
        ),
        lambda: b"--b\r\nContent-Disposition: form-data" + times(random, b"; name*0=a") + b"\r\n\r\na\r\n",
        lambda: b"--b\r\nContent-Disposition: form-data; name=" + times(random, b'"\\') + b"\r\n\r\na\r\n",
        lambda: times(random, b"\r\n--"),
    )
    return b"".join(parts[int(random.integers(len(parts)))]() for _ in range(int(random.integers(1, 4)))) + b"--b--\r\n"


def query_body(parent: bytes | None, random: Generator) -> bytes:
    """Return a reconciliation batch as a form."""
    if parent and random.random() < 0.5:
        return _anywhere(parent, random)[: 2 * MOST_BYTES]
    if random.random() < 0.3:
        return times(random, (b"&", b"a=b&", b"queries=&", b"%", b"+", b";")[int(random.integers(6))])
    batch = (
        _fields(random)
        if random.random() < 0.5
        else b'{"q":{"query":' + _values(random) + b',"type":' + _values(random) + b"}}"
    )
    return b"queries=" + batch


def iiif_document(parent: bytes | None, random: Generator) -> bytes:
    """Return a manifest or an info.json that is much longer, deeper or more tangled than any that is of use."""
    if parent and random.random() < 0.5:
        return _anywhere(parent, random)[: 2 * MOST_BYTES]
    grown = (_nested, _values, _fields)[int(random.integers(3))](random)
    service = b'{"id":"http://127.0.0.1/a","type":"ImageService3","profile":"level2"}'
    body = b'{"id":"http://127.0.0.1/a.jpg","type":"Image","service":[' + times(random, service + b",")[:-1] + b"]}"
    canvas = (
        b'{"id":"http://127.0.0.1/c","type":"Canvas","items":[{"type":"AnnotationPage","items":[{"type":"Annotation",'
    )
    canvas += b'"motivation":"painting","body":' + (body if random.random() < 0.5 else grown) + b"}]}]}"
    shapes = (
        b'{"type":"Manifest","id":"http://127.0.0.1/m","items":[' + times(random, canvas + b",")[:-1] + b"]}",
        b'{"@context":"http://iiif.io/api/image/2/context.json","sizes":' + grown + b',"width":9,"height":9}',
        b'{"@context":"http://iiif.io/api/presentation/3/context.json","type":"Manifest","items":' + grown + b"}",
    )
    return shapes[int(random.integers(len(shapes)))]


def table(parent: bytes | None, random: Generator) -> bytes:
    """Return a table of objects, as `gaze bulk` reads it."""
    if parent and random.random() < 0.5:
        return _anywhere(parent, random)[: 2 * MOST_BYTES]
    buffer = io.BytesIO(b"object_number,url\n")
    buffer.seek(0, io.SEEK_END)
    line = (b"a,b\n", b'"', b'"a\n', b",", b"\n", b"\r", b",,,,\n", b"a;b\tc|d\n", b'a,""""""\n')
    buffer.write(times(random, line[int(random.integers(len(line)))]))
    return buffer.getvalue()


FORMATS = tuple(VARIANTS)
BODIES: dict[str, Callable[[bytes | None, Generator], bytes]] = {
    "json": json_body,
    "form": form_body,
    "queries": query_body,
    "iiif": iiif_document,
    "table": table,
}
"""Each grows a parent, or makes a new body where there is none."""
