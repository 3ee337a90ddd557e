"""PNGs written byte by byte decode to the pixels that arithmetic makes of their samples, in every kind there is."""

import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fuzz.bombs import png_chunk
from service.errors import UndecodableImage
from service.images.decode import DecodedImage, ImageLimits, decode
from tests.conftest import encoded, noise

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=1_000_000)
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
KINDS = [
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *itertools.product((RGB, GREY_ALPHA, RGB_ALPHA), (8, 16)),
]
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of each pass: the first column and row, and how many there are from one to the next."""

COLOURS = np.random.default_rng(5).integers(0, 256, (256, 3))


def samples_of(colour: int, depth: int, size: tuple[int, int] = (23, 19)) -> np.ndarray:
    """Return random samples [height, width, channels]."""
    width, height = size
    return np.random.default_rng(colour + depth).integers(0, 1 << depth, (height, width, CHANNELS[colour]))


def packed(samples: np.ndarray, depth: int) -> bytes:
    """Return rows, each after one of the five filters, unapplied to nothing but its bytes."""
    rows, above = [], None
    step = max(1, samples.shape[2] * depth // 8)
    for number, row in enumerate(samples):
        if depth == 16:
            line = np.frombuffer(row.astype(">u2").tobytes(), np.uint8)
        else:
            bits = (row.reshape(-1, 1) >> np.arange(depth)[::-1]) & 1
            line = np.packbits(bits.astype(np.uint8).ravel())
        above = np.zeros_like(line) if above is None else above
        rows.append(bytes([number % 5]) + filtered(line, above, step, number % 5))
        above = line
    return b"".join(rows)


def filtered(line: np.ndarray, above: np.ndarray, step: int, kind: int) -> bytes:
    """Return a row's bytes, less what the filter of this number foretells."""
    left, corner = (np.concatenate([np.zeros(step, int), each])[: len(line)] for each in (line, above))
    up = above.astype(int)
    guess = left + up - corner
    far_left, far_up, far_corner = (np.abs(guess - each) for each in (left, up, corner))
    paeth = np.where((far_left <= far_up) & (far_left <= far_corner), left, np.where(far_up <= far_corner, up, corner))
    foretold = (np.zeros_like(up), left, up, (left + up) // 2, paeth)[kind]
    return bytes(((line.astype(int) - foretold) & 0xFF).tolist())


def png_of(samples: np.ndarray, colour: int, depth: int, *before_data: bytes, interlaced: bool = False) -> bytes:
    """Return a PNG of samples [height, width, channels], with these chunks ahead of its data."""
    height, width = samples.shape[:2]
    passes = [samples[y::down, x::across] for x, y, across, down in ADAM7] if interlaced else [samples]
    data = zlib.compress(b"".join(packed(each, depth) for each in passes if each.size))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    plte = [png_chunk(b"PLTE", COLOURS[: 1 << depth].astype(np.uint8).tobytes())] if colour == PALETTE else []
    middle = len(data) // 2
    chunks = [png_chunk(b"IHDR", header), *plte, *before_data]
    chunks += [png_chunk(b"IDAT", data[:middle]), png_chunk(b"IDAT", data[middle:]), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def seen(samples: np.ndarray, colour: int, depth: int, opaque: np.ndarray | None = None) -> np.ndarray:
    """Return what a person sees on white: [height, width, 3], 0 to 255."""
    share = samples / ((1 << depth) - 1)
    if colour == PALETTE:
        colours = COLOURS[samples[..., 0]] / 255
    else:
        colours = share[..., :3] if colour in (RGB, RGB_ALPHA) else share[..., :1].repeat(3, axis=2)
    if colour in (GREY_ALPHA, RGB_ALPHA):
        opaque = share[..., -1]
    if opaque is not None:
        colours = colours * opaque[..., None] + (1 - opaque[..., None])
    return np.asarray(colours * 255)


def of(file: bytes) -> DecodedImage:
    return decode(file, LIMITS)


def furthest(decoded: DecodedImage, expected: np.ndarray) -> float:
    """Return by how much a sample is off at most."""
    return float(np.abs(np.asarray(decoded.rgb).astype(float) - expected).max())


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_pixels(colour: int, depth: int, interlaced: bool) -> None:
    samples = samples_of(colour, depth)
    decoded = of(png_of(samples, colour, depth, interlaced=interlaced))
    # The low byte of 16 bits is cut off, of a colour and of its opacity.
    most = (depth == 16) + (colour in (GREY_ALPHA, RGB_ALPHA)) + 0.01 * (depth == 16)
    assert furthest(decoded, seen(samples, colour, depth)) <= most
    assert decoded.warnings == ()


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), [kind for kind in KINDS if kind[0] in (GREY, RGB)])
def test_pixels_of_the_transparent_value_are_white(colour: int, depth: int, interlaced: bool) -> None:
    samples = samples_of(colour, depth)
    value = samples[7, 11].copy()
    samples[3:6, 4:9] = value
    # What is near it, and alike in its high bytes or in its low ones, is as opaque as all else.
    samples[10:12, 4:9] = value ^ 1
    samples[14:16, 4:9] = value ^ (1 << (depth - 1))
    opaque = (samples != value).any(axis=2)
    chunk = png_chunk(b"tRNS", value.astype(">u2").tobytes())
    decoded = of(png_of(samples, colour, depth, chunk, interlaced=interlaced))
    expected = seen(samples, colour, depth, opaque.astype(float))
    assert 0 < opaque.mean() < 1
    assert furthest(decoded, expected) <= (1.01 if depth == 16 else 0)


def test_of_a_transparent_value_only_the_bits_count_that_samples_have() -> None:
    samples = samples_of(RGB, 8)
    chunk = png_chunk(b"tRNS", (samples[0, 0] | 0x5500).astype(">u2").tobytes())
    assert (np.asarray(of(png_of(samples, RGB, 8, chunk)).rgb)[0, 0] == 255).all()
    grey = samples_of(GREY, 4)
    chunk = png_chunk(b"tRNS", (grey[0, 0] | 0x5550).astype(">u2").tobytes())
    assert (np.asarray(of(png_of(grey, GREY, 4, chunk)).rgb)[0, 0] == 255).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_may_be_transparent_in_part(depth: int) -> None:
    samples = samples_of(PALETTE, depth)
    alpha = np.array([0, 128, 255, 7])[: min(1 << depth, 3)]
    opaque = np.concatenate([alpha, np.full(256, 255)])[samples[..., 0]] / 255
    decoded = of(png_of(samples, PALETTE, depth, png_chunk(b"tRNS", alpha.astype(np.uint8).tobytes())))
    assert furthest(decoded, seen(samples, PALETTE, depth, opaque)) <= 1.01


def broken(file: bytes, kind: bytes, number: int = 0) -> bytes:
    """Return a PNG whose chunk of this kind has a wrong checksum."""
    start = -1
    for _ in range(number + 1):
        start = file.index(kind, start + 1)
    end = start + 4 + struct.unpack_from(">I", file, start - 4)[0]
    return file[:end] + bytes([file[end] ^ 1]) + file[end + 1 :]


NOTES = {
    "a resolution": png_chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1)),
    "a text": png_chunk(b"tEXt", b"Comment\0a river"),
    "a text that unpacks to 20 MB": png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000))),
    "one in UTF-8": png_chunk(b"iTXt", b"Title\0\1\0\0\0" + zlib.compress(b"a" * 20_000_000)),
    "XMP that unpacks to 20 MB": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"a" * 20_000_000)),
    "a text that does not unpack": png_chunk(b"zTXt", b"Comment\0\0nothing"),
    "XMP that does not unpack": png_chunk(b"zTXt", b"XML:com.adobe.xmp\0\0nothing"),
    "a date that is none": png_chunk(b"tIME", b"\xff"),
    "a chunk of a program's own": png_chunk(b"prVt", bytes(99)),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("with_wrong_checksum", [False, True])
@pytest.mark.parametrize("note", NOTES)
def test_a_note_keeps_no_picture_from_being_decoded(note: str, with_wrong_checksum: bool, behind: bool) -> None:
    samples = samples_of(RGB, 8)
    file, chunk = png_of(samples, RGB, 8), NOTES[note]
    if with_wrong_checksum:
        chunk = broken(chunk, chunk[4:8])
    place = file.index(b"IEND" if behind else b"IDAT") - 4
    decoded = of(file[:place] + chunk + file[place:])
    assert furthest(decoded, samples) == 0
    assert decoded.warnings == ()


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        (png_chunk(b"iCCP", b"large\0\0" + zlib.compress(bytes(2_000_000))), "colour profile"),
        (png_chunk(b"iCCP", b"none\0\0nothing"), "colour profile"),
        (broken(png_chunk(b"iCCP", b"none\0\0" + zlib.compress(bytes(9))), b"iCCP"), "colour profile"),
        (broken(png_chunk(b"tRNS", bytes(6)), b"tRNS"), "transparency"),
        (broken(png_chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0"), b"eXIf"), "EXIF"),
    ],
)
def test_what_says_how_pixels_are_seen_is_missed_aloud(chunk: bytes, told: str) -> None:
    samples = samples_of(RGB, 8)
    decoded = of(png_of(samples, RGB, 8, chunk))
    assert furthest(decoded, samples) == 0
    [sentence] = decoded.warnings
    assert sentence.endswith(f"was left out: {told}.")


@pytest.mark.parametrize(("kind", "number"), [(b"IHDR", 0), (b"PLTE", 0), (b"IDAT", 0), (b"IDAT", 1), (b"IEND", 0)])
def test_a_wrong_checksum_of_the_picture_itself_is_refused(kind: bytes, number: int) -> None:
    file = png_of(samples_of(PALETTE, 8), PALETTE, 8)
    with pytest.raises(UndecodableImage, match="broken PNG: a checksum of its picture is wrong"):
        of(broken(file, kind, number))


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        (png_chunk(b"CgBI", bytes(4)), "of a kind that is not read"),
        (png_chunk(b"\0\0\0\0", bytes(4)), "no chunk where one should begin"),
    ],
)
def test_what_cannot_be_a_picture_is_refused(chunk: bytes, told: str) -> None:
    with pytest.raises(UndecodableImage, match=told):
        of(png_of(samples_of(RGB, 8), RGB, 8, chunk))


@pytest.mark.parametrize("less", [12, 8, 4, 1])
def test_a_picture_that_lacks_but_its_end_is_decoded(less: int) -> None:
    samples = samples_of(RGB, 8)
    assert furthest(of(png_of(samples, RGB, 8)[:-less]), samples) == 0


@pytest.mark.parametrize("less", [30, 300, 1000])
def test_a_picture_that_lacks_pixels_is_refused(less: int) -> None:
    with pytest.raises(UndecodableImage):
        of(png_of(samples_of(RGB, 8), RGB, 8)[:-less])


def test_what_comes_after_the_end_is_nothing() -> None:
    samples = samples_of(RGB, 8)
    assert furthest(of(png_of(samples, RGB, 8) + b"PK\3\4 and more" + bytes(999)), samples) == 0


def test_of_an_animation_the_first_picture_is_seen() -> None:
    red, blue = (Image.new("RGB", (20, 10), colour) for colour in ("red", "blue"))
    for default in (False, True):
        file = encoded(red, "PNG", save_all=True, append_images=[blue, red], default_image=default)
        assert b"acTL" in file
        assert np.asarray(of(file).rgb)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<tiff:Orientation>6</tiff:Orientation>")),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
def test_a_picture_is_turned_once(chunk: bytes, behind: bool) -> None:
    samples = samples_of(RGB, 8)
    file = png_of(samples, RGB, 8)
    place = file.index(b"IEND" if behind else b"IDAT") - 4
    assert furthest(of(file[:place] + chunk + file[place:]), np.rot90(samples, -1)) == 0


def test_large_pictures_of_deep_samples_are_put_on_white_too() -> None:
    grey = np.asarray(noise(1200, 900, "L")).astype(int) * 257
    limits = ImageLimits(max_bytes=32 * 1024**2, max_pixels=2_000_000)
    value = grey[5, 5]
    opaque = grey != value
    file = png_of(grey[..., None], GREY, 16, png_chunk(b"tRNS", struct.pack(">H", int(value))))
    found = np.asarray(decode(file, limits).rgb).astype(float)
    assert np.abs(found - seen(grey[..., None], GREY, 16, opaque.astype(float))).max() <= 1.01


@pytest.mark.parametrize(("bits", "percent"), [(8, 1), (12, 6), (14, 25)])
@pytest.mark.parametrize("colour", [GREY, RGB, GREY_ALPHA, RGB_ALPHA])
def test_a_picture_that_uses_few_of_its_bits_is_warned_of(colour: int, bits: int, percent: int) -> None:
    samples = samples_of(colour, 16) >> (16 - bits)
    samples[:9, :9] = (1 << bits) - 1
    if colour in (GREY_ALPHA, RGB_ALPHA):
        samples[..., -1] = 65_535
    (warning,) = of(png_of(samples, colour, 16)).warnings
    assert warning.startswith(f"The picture uses {percent} % of the range that its samples have")


def test_a_dark_picture_of_eight_bits_is_not_warned_of() -> None:
    assert of(png_of(samples_of(RGB, 8) // 20, RGB, 8)).warnings == ()
