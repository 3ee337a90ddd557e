"""Containers whose numbers are changed and whose parts are repeated where a reader looks for them."""

import struct
import zlib

from numpy.random import Generator

MOST_BYTES = 100_000
"""A candidate has about so many bytes at most: costs are counted for each 100 kB."""


def often(random: Generator, most: int) -> int:
    """Return a number from 1 to `most`, small and large ones equally often."""
    return int(most ** random.random())


def any_bytes(random: Generator, count: int) -> bytes:
    """Return so many bytes, of one value or of any."""
    return bytes([int(random.integers(256))]) * count if random.random() < 0.5 else random.bytes(count)


def times(random: Generator, part: bytes, most: int = MOST_BYTES) -> bytes:
    """Return a part once, or as often as makes no more than so many bytes, or something between."""
    return part * often(random, max(1, most // max(1, len(part))))


def jpeg_2000(file: bytes, random: Generator) -> bytes:
    """Return a JPEG 2000 whose main header has other numbers, or more segments, or whose samples have more boxes."""
    start = file.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(file) < start + 60:
        return file
    grid, coding = start + 8, file.find(b"\xff\x52", start)
    kind = int(random.integers(7))
    changed = bytearray(file)
    if kind == 0:  # the picture, its tiles, and where both begin
        place = grid + 4 * int(random.integers(8))
        changed[place : place + 4] = struct.pack(">I", often(random, 4_000))
    elif kind == 1:
        components = often(random, 500)
        changed[start + 4 : start + 6] = struct.pack(">H", 38 + 3 * components)
        changed[grid + 32 : grid + 34] = struct.pack(">H", components)
        changed[grid + 34 : grid + 34 + 3 * struct.unpack_from(">H", file, grid + 32)[0]] = (
            bytes((int(random.integers(38)), often(random, 255), often(random, 255))) * components
        )
    elif kind == 2 and coding > 0:  # progression, layers, resolutions, blocks and their style, wavelet
        place = coding + 5 + int(random.integers(9))
        changed[place : place + 1] = bytes([int(random.integers(34))])
    elif kind == 3 and coding > 0:
        changed[coding + 6 : coding + 8] = struct.pack(">H", often(random, 65_535))
    elif kind == 4:  # a region of interest, packed headers, lengths, comments, progressions, and quantizations
        code = (0x5E, 0x60, 0x55, 0x57, 0x64, 0x5F, 0x5C, 0x5D, 0x53)[int(random.integers(9))]
        body = any_bytes(random, often(random, 300))
        segment = bytes((0xFF, code)) + struct.pack(">H", len(body) + 2) + body
        place = start + 4 + struct.unpack_from(">H", file, start + 4)[0]
        changed[place:place] = times(random, segment, MOST_BYTES // 4)
    elif kind == 5:
        tile = file.find(b"\xff\x90", start)
        changed[-2:] = times(random, file[tile:-2]) + b"\xff\xd9"
    else:
        name = (b"pclr", b"cmap", b"cdef", b"colr", b"uuid", b"xml ", b"res ")[int(random.integers(7))]
        body = any_bytes(random, often(random, 5_000))
        header = max(0, file.find(b"jp2h", 0, start))
        place = header + 4
        changed[place:place] = times(random, struct.pack(">I4s", 8 + len(body), name) + body)
        if header:
            changed[header - 4 : header] = struct.pack(
                ">I", struct.unpack_from(">I", file, header - 4)[0] + len(changed) - len(file)
            )
    return bytes(changed)


def heif(file: bytes, random: Generator) -> bytes:
    """Return a HEIF or an AVIF with a box as often as fits, in which the lengths of the boxes around it are right."""
    around, place = [], 0
    names = (b"meta", (b"iprp", b"iinf", b"iref", b"iloc")[int(random.integers(4))], b"ipco")
    for name in names[: int(random.integers(1, 4))]:
        found = file.find(name, place)
        if found < 4:
            break
        around.append(found - 4)
        place = found + (8 if name in (b"meta", b"iref") else 6 if name == b"iinf" else 4)
    if not around:
        return file
    if random.random() < 0.4:  # counts, extents and sizes, where they are
        changed = bytearray(file)
        place = around[-1] + int(random.integers(8, 60))
        changed[place : place + 2] = struct.pack(">H", often(random, 65_535))
        return bytes(changed)
    inner = place
    length, name = struct.unpack_from(">I4s", file, inner) if inner + 8 <= len(file) else (0, b"")
    box = file[inner : inner + length] if 8 <= length < 2_000 and name.isalnum() else b""
    body = any_bytes(random, often(random, 400))
    made = (b"irot", b"imir", b"clap", b"ispe", b"pixi", b"colr", b"auxC", b"infe", b"dimg", b"hvcC", b"av1C", b"free")
    part = box or struct.pack(">I4s", 8 + len(body), made[int(random.integers(len(made)))]) + body
    grown = times(random, part)
    changed = bytearray(file[:inner] + grown + file[inner:])
    for begin in around:
        changed[begin : begin + 4] = struct.pack(
            ">I", (struct.unpack_from(">I", file, begin)[0] + len(grown)) & 0xFFFFFFFF
        )
    return bytes(changed)


def tiff(file: bytes, random: Generator) -> bytes:
    """Return a TIFF with other numbers in its tags, with a directory of very many, or with many directories."""
    order = "<" if file[:2] == b"II" else ">"
    if len(file) < 16 or file[2:4] not in (b"*\0", b"\0*"):
        return file
    (place,) = struct.unpack_from(order + "I", file, 4)
    if place + 2 > len(file):
        return file
    (number,) = struct.unpack_from(order + "H", file, place)
    entries = [file[place + 2 + 12 * each : place + 14 + 12 * each] for each in range(min(number, 200))]
    entries = [entry for entry in entries if len(entry) == 12] or [bytes(12)]
    kind = int(random.integers(4))
    if kind == 0:  # width, height, rows a strip, tiles, samples, bits, compression, photometric
        tags = (256, 257, 278, 322, 323, 277, 258, 259, 262, 317, 284, 339)
        tag = tags[int(random.integers(len(tags)))]
        codes = (1, 2, 3, 4, 5, 7, 8, 32_773, 34_712, 34_925, 50_000, 50_001)
        value = codes[int(random.integers(len(codes)))] if tag == 259 else often(random, 5_000)
        made = struct.pack(order + "HHII", tag, 4, 1, value)
        entries = sorted([entry for entry in entries if struct.unpack(order + "H", entry[:2])[0] != tag] + [made])
    elif kind == 1:
        entries = entries * often(random, max(1, MOST_BYTES // 12 // len(entries)))
    elif kind == 2:  # as many strips as fit, all of them in one place
        count = often(random, MOST_BYTES // 8)
        packed = zlib.compress(bytes(often(random, 3_000_000)), 9)
        table = len(file) + len(packed)
        strips = [
            struct.pack(order + "HHII", tag, 4, count, table + 4 * count * which)
            for which, tag in enumerate((273, 279))
        ]
        strips.append(struct.pack(order + "HHII", 278, 4, 1, often(random, 100)))
        keep = [entry for entry in entries if struct.unpack(order + "H", entry[:2])[0] not in (273, 278, 279)]
        entries = sorted(keep + strips, key=lambda entry: struct.unpack(order + "H", entry[:2])[0])
        file += packed + struct.pack(order + "I", len(file)) * count + struct.pack(order + "I", len(packed)) * count
    else:
        one = struct.pack(order + "H", len(entries)) + b"".join(entries)
        start = len(file)
        times = often(random, max(1, MOST_BYTES // (len(one) + 4)))
        each = range(1, times + 1)
        chain = b"".join(one + struct.pack(order + "I", start + next_one * (len(one) + 4)) for next_one in each)
        return file[:4] + struct.pack(order + "I", start) + file[8:] + chain
    entries = entries[:65_535]
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    return file[:4] + struct.pack(order + "I", len(file)) + file[8:] + directory
