"""TIFF: every kind is decoded to the pixels that a person sees, or refused by a sentence that names the kind."""

import io
import itertools
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from service.errors import ImageDimensions, UndecodableImage
from service.images.decode import ImageLimits, decode
from tests.support.tiff_corpus import GROUPS, LIMITS, Case, by_gaze
from tests.support.tiff_writing import HEIGHT, WIDTH, Tags, counted, handmade, of_pages, plain, written

UNREAD = "TIFF of a kind that is not read: "

# What the corpus has of kinds that are refused, by group.
REFUSED = {
    "image_codecs": ["jpegxl", "jpegxr", "png", "lerc", "50002"],
    "alphas": ["four bands, 8 bits", "four bands, 16 bits"],
}


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_every_kind_is_right_or_refused(group: Callable[[], Iterator[Case]]) -> None:
    outcomes = {case.name: by_gaze(case) for case in group()}
    assert [name for name, outcome in outcomes.items() if outcome == "wrong"] == []
    assert [name for name, outcome in outcomes.items() if outcome == "refused"] == REFUSED.get(group.__name__, [])


def sentence(file: bytes) -> str:
    """Return what is said of a file that is refused."""
    with pytest.raises(UndecodableImage) as raised:
        decode(file, LIMITS)
    return raised.value.detail


GREY = counted(8, 1)


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({262: (3, [32_803])}, "a camera's raw negative"),
        ({262: (3, [34_892])}, "a camera's raw negative"),
        ({50_706: (1, [1, 4, 0, 0])}, "a camera's raw negative"),
        ({262: (3, [4])}, "a mask alone"),
        ({262: (3, [10])}, "colours that are neither grey, a palette, RGB, CMYK, YCbCr nor Lab"),
        ({262: (3, [2])}, "fewer samples than colours"),
        ({259: (3, [6])}, "compressed by JPEG of the old style"),
        ({259: (3, [50_002])}, "compressed by JPEG XL"),
        ({259: (3, [4_711])}, "compressed in a way that is not known"),
        ({339: (3, [6])}, "complex numbers"),
        ({317: (3, [2])}, "a predictor that does not go with the rest"),
        ({258: (3, [24])}, "a depth of samples that is not known"),
        ({258: (3, [65])}, "a depth of samples that is not known"),
        ({258: (3, [0])}, "a depth of samples that is not known"),
        ({277: (3, [200]), 262: (3, [2])}, "more samples of a pixel than a picture has"),
        ({279: (4, [0]), 278: (4, [20]), 273: (4, [0, 0])}, None),
    ],
)
def test_what_is_not_read_is_named(tags: Tags, kind: str | None) -> None:
    file = handmade(plain(GREY, 1) | tags, [GREY.tobytes()])
    assert sentence(file) == (f"{UNREAD}{kind}." if kind else UndecodableImage.default_detail)


def test_a_raw_negative_below_a_thumbnail_is_not_its_thumbnail() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(counted(8, 3), photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        writer.write(counted(16, 1)[..., 0], photometric="minisblack", metadata=None)
    cfa = struct.pack("<HHIHH", 262, 3, 1, 1, 0), struct.pack("<HHIHH", 262, 3, 1, 32_803, 0)
    contents = file.getvalue()
    assert cfa[0] in contents
    assert sentence(contents.replace(*cfa)) == f"{UNREAD}a camera's raw negative."


def test_tiles_that_are_left_out_are_not_black() -> None:
    samples = np.zeros((64, 64), np.uint8)
    tags = plain(samples[..., None], 1) | {322: (3, [32]), 323: (3, [32]), 324: (4, [8, 8, 8, 0])}
    file = handmade(tags | {325: (4, [1024, 1024, 1024, 0])}, [bytes(1024)], drop=(278,))
    assert sentence(file) == f"{UNREAD}parts of it are left out."


@pytest.mark.parametrize(("bits", "percent"), [(10, 2), (12, 6), (14, 25)])
def test_a_picture_of_fewer_bits_than_its_file_says_is_warned_of(bits: int, percent: int) -> None:
    file = written(counted(bits, 1)[..., 0].astype(np.uint16), photometric="minisblack")
    (warning,) = decode(file, LIMITS).warnings
    assert warning.startswith(f"The picture uses {percent} % of the range that its samples have")


def test_opacity_does_not_hide_that_few_bits_are_used() -> None:
    samples = np.dstack([counted(12, 3).astype(np.uint16), np.full((HEIGHT, WIDTH), 65535, np.uint16)])
    assert decode(written(samples, photometric="rgb", extrasamples=["unassalpha"]), LIMITS).warnings


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_picture_of_all_its_bits_is_not_warned_of(bits: int) -> None:
    assert (
        decode(written(counted(bits, 1)[..., 0], photometric="minisblack", bitspersample=bits), LIMITS).warnings == ()
    )
    dark = written(GREY[..., 0] // 20, photometric="minisblack")
    assert decode(dark, LIMITS).warnings == ()


# Whole files that are cut or broken.

WHOLE = {
    compression: written(counted(8, 3), photometric="rgb", rowsperstrip=9, compression=compression)
    for compression in (None, "lzw", "zlib", "packbits", "zstd", "lzma", "jpeg", "webp")
}


@pytest.mark.parametrize("compression", WHOLE)
def test_a_strip_that_ends_early_is_refused_and_never_filled_up(compression: str | None) -> None:
    file = WHOLE[compression]
    with tifffile.TiffFile(io.BytesIO(file)) as opened:
        page = opened.pages.first
        counts, place = list(page.databytecounts), page.tags[279].valueoffset
        form = "<" + {3: "H", 4: "I"}[int(page.tags[279].dtype)] * len(counts)
    assert struct.unpack_from(form, file, place) == tuple(counts)
    for strip in range(len(counts)):
        cut = bytearray(file)
        struct.pack_into(form, cut, place, *[*counts[:strip], counts[strip] // 2, *counts[strip + 1 :]])
        with pytest.raises(UndecodableImage):
            decode(bytes(cut), LIMITS)


@pytest.mark.parametrize(
    ("bits", "options"),
    [
        (8, {"photometric": "minisblack"}),
        (12, {"photometric": "minisblack", "bitspersample": 12}),
        (8, {"photometric": "rgb"}),
        (8, {"photometric": "separated"}),
    ],
)
def test_a_jpeg_within_that_was_cut_and_given_an_end_is_refused(bits: int, options: dict[str, Any]) -> None:
    channels = {"rgb": 3, "separated": 4}.get(options["photometric"], 1)
    samples = counted(bits, channels)
    samples = samples if channels > 1 else samples[..., 0]
    file = bytearray(written(samples, compression="jpeg", rowsperstrip=HEIGHT, **options))
    with tifffile.TiffFile(io.BytesIO(file)) as opened:
        [place], [count] = opened.pages.first.dataoffsets, opened.pages.first.databytecounts
    decode(bytes(file), LIMITS)
    cut = place + count - count // 8
    file[cut : place + count] = (b"\xff\xd9" + bytes(count))[: place + count - cut]
    assert sentence(bytes(file)) == UndecodableImage.default_detail


def test_a_jpeg_within_that_is_grey_itself_is_decoded() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    file = written(grey, compression="jpeg", photometric="rgb", rowsperstrip=HEIGHT)
    assert (np.asarray(decode(file, LIMITS).rgb) == 128).all()


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
def test_a_fax_that_ends_early_is_refused(compression: str) -> None:
    file = io.BytesIO()
    bits = np.random.default_rng(0).random((HEIGHT, WIDTH)) > 0.5
    Image.fromarray(bits).save(file, "TIFF", compression=compression)
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as opened:
        page = opened.pages.first
        count, place = page.databytecounts[0], page.tags[279].valueoffset
    for length in (3, count // 3, count // 2, count - 20):
        cut = bytearray(file.getvalue())
        struct.pack_into("<H" if count < 65_536 and page.tags[279].dtype == 3 else "<I", cut, place, length)
        with pytest.raises(UndecodableImage):
            decode(bytes(cut), LIMITS)


# Pyramids.


def pyramid(side: int, *, below: bool = False, compression: str = "zlib", small: int = 30, tile: int = 256) -> bytes:
    """Return a square picture whose copies have half the side of the one before, each of its own grey: 10, 20, 30."""
    sides = [side]
    while sides[-1] > small:
        sides.append(-(-sides[-1] // 2))
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=True) as writer:
        for number, each in enumerate(sides):
            grey = np.full((tile, tile), 10 * (number + 1), np.uint8)
            writer.write(
                itertools.repeat(grey, (-(-each // tile)) ** 2),
                shape=(each, each),
                dtype="u1",
                photometric="minisblack",
                tile=(tile, tile),
                compression=compression,
                metadata=None,
                subfiletype=1 if number else 0,
                subifds=len(sides) - 1 if below and not number else None,
            )
    return file.getvalue()


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize(
    ("enough", "side", "grey"), [(60, 75, 50), (75, 75, 50), (76, 150, 40), (160, 300, 30), (300, 300, 30)]
)
def test_a_pyramid_beyond_the_limits_is_its_smallest_copy_that_serves(
    enough: int, side: int, grey: int, below: bool
) -> None:
    limits = ImageLimits(max_bytes=1024**2, max_pixels=100_000)
    decoded = decode(pyramid(1200, below=below), limits, enough)
    assert decoded.decoded_at == decoded.oriented.size == (side, side)
    assert (decoded.width, decoded.height) == (1200, 1200)
    assert (np.asarray(decoded.rgb) == grey).all()


@pytest.mark.parametrize(("scanner", "decoded_at"), [("Aperio Image Library v11", (300, 300)), ("others", None)])
def test_copies_of_a_slide_are_told_by_their_tiles(scanner: str, decoded_at: tuple[int, int] | None) -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for side, grey, tile in ((1200, 10, (256, 256)), (200, 20, None), (300, 30, (256, 256)), (250, 40, None)):
            pixels = np.full((side, side), grey, np.uint8)
            writer.write(pixels, photometric="minisblack", tile=tile, description=scanner, metadata=None)
    limits = ImageLimits(max_bytes=4 * 1024**2, max_pixels=100_000)
    if decoded_at is None:
        with pytest.raises(ImageDimensions):
            decode(file.getvalue(), limits, 60)
    else:
        decoded = decode(file.getvalue(), limits, 60)
        assert decoded.decoded_at == decoded_at
        assert (np.asarray(decoded.rgb) == 30).all()


def test_a_description_that_is_cut_short_is_none() -> None:
    file = handmade(plain(GREY, 1) | {270: (7, b"Aperio Image Library v11\0")}, [GREY.tobytes()])
    cut = file.replace(struct.pack("<HHI", 270, 7, 25), struct.pack("<HHI", 270, 7, 60_000))
    assert cut != file
    assert np.array_equal(np.asarray(decode(cut, LIMITS).rgb), np.asarray(decode(file, LIMITS).rgb))


def test_a_pyramid_within_the_limits_is_decoded_whole() -> None:
    decoded = decode(pyramid(300), LIMITS, 60)
    assert decoded.decoded_at is None
    assert (np.asarray(decoded.rgb) == 10).all()
    assert decode(pyramid(300), LIMITS, 60, fast=True).decoded_at == (75, 75)


def test_a_pyramid_none_of_whose_copies_serves_is_too_large() -> None:
    limits = ImageLimits(max_bytes=1024**2, max_pixels=100_000)
    for enough in (None, 301):
        with pytest.raises(ImageDimensions):
            decode(pyramid(1200), limits, enough)


def test_what_has_another_shape_is_no_copy() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for shape, kind in (((400, 600), 0), ((100, 100), 1), ((67, 100), 5), ((133, 200), 1)):
            grey = np.full(shape, min(shape) // 2, np.uint8)
            photometric = "mask" if kind == 5 else "minisblack"
            writer.write(grey > 0 if kind == 5 else grey, photometric=photometric, subfiletype=kind, metadata=None)
    decoded = decode(file.getvalue(), ImageLimits(1024**2, 50_000), 50)
    assert decoded.decoded_at == (200, 133)
    assert (np.asarray(decoded.rgb) == 66).all()


def test_a_pyramids_copies_are_turned_as_it_is() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for scale in (8, 1):
            tags = [(274, 3, 1, 6, True)] if scale == 8 else []
            grey = np.zeros((40 * scale, 60 * scale), np.uint8)
            grey[:, : 30 * scale] = 255
            writer.write(grey, photometric="minisblack", subfiletype=int(scale == 1), extratags=tags, metadata=None)
    decoded = decode(file.getvalue(), ImageLimits(1024**2, 50_000), 30)
    assert (decoded.width, decoded.height, decoded.decoded_at) == (320, 480, (40, 60))
    seen = np.asarray(decoded.rgb)[..., 0]
    assert (seen[:30] == 255).all()
    assert (seen[30:] == 0).all()


def test_the_largest_pyramid_is_read_by_its_directories_alone() -> None:
    # 160,000 tiles of which each would be the whole file.
    offsets = np.full(160_000, 8, np.uint32).tobytes()
    counts = np.full(160_000, 2**32 - 1, np.uint32).tobytes()
    tags = plain(GREY, 1) | {256: (4, [102_400]), 257: (4, [102_400]), 322: (3, [256]), 323: (3, [256])}
    small = np.full((512, 512, 1), 77, np.uint8)
    file = of_pages(
        [(tags | {324: (4, offsets), 325: (4, counts)}, []), (plain(small, 1, t254=(4, [1])), [small.tobytes()])]
    )
    decoded = decode(file, ImageLimits(8 * 1024**2, 50_000_000), 448)
    assert decoded.decoded_at == (512, 512)
    assert (np.asarray(decoded.rgb) == 77).all()


@pytest.mark.parametrize("more", ["", "service.images.decode.import_decoders();"])
def test_codecs_are_loaded_where_pictures_are_decoded_and_nowhere_else(more: str) -> None:
    names = "print(*[name for name in sys.modules if name.startswith(('imagecodecs._', 'tifffile'))])"
    program = [sys.executable, "-c", f"import sys, service.images.isolation.decoder; {more} {names}"]
    loaded = set(subprocess.run(program, check=True, capture_output=True, text=True).stdout.split())
    codecs = {f"imagecodecs._{name}" for name in ("ccitt", "imcd", "jpeg2k", "jpeg8", "webp", "zstd")}
    assert loaded >= codecs if more else not loaded
    assert "tifffile" not in loaded


# Reads files from standard input, as pickled bytes, once it can open none any more.
IN_A_CLOSED_PROCESS = """
import pickle, sys
from service.errors import GazeError
from service.images.decode import ImageLimits, decode, import_decoders
from service.images.isolation.sandbox import close_process

files = pickle.load(sys.stdin.buffer)
import_decoders()
close_process()
read = 0
for file in files:
    try:
        read += decode(file, ImageLimits(1024**2, 1_000_000)).rgb.mode == "RGB"
    except GazeError:
        pass
print(read)
"""


def test_every_kind_is_read_where_nothing_can_be_imported_any_more() -> None:
    cases = [case for group in GROUPS for case in group()]
    program = [sys.executable, "-c", IN_A_CLOSED_PROCESS]
    files = pickle.dumps([case.file for case in cases])
    read = int(subprocess.run(program, check=True, capture_output=True, input=files).stdout)
    assert read == len(cases) - sum(len(names) for names in REFUSED.values())
