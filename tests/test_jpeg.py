"""A JPEG that lacks its end is decoded if it lacks nothing else; and odd ones are what libjpeg's other caller says."""

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from fuzz.seeds import picture
from service.errors import UndecodableImage, UnsupportedImageFormat
from service.images.decode import ImageLimits, decode
from service.images.decoders.jpeg import END, INKS_WARNING, lacks_only_its_end
from tests.conftest import encoded, noise

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=1_000_000)
KINDS: dict[str, tuple[Image.Image, dict[str, Any]]] = {
    "smooth": (picture("RGB"), {}),
    "noise": (noise(96, 80), {"quality": 98}),
    "grey": (noise(50, 70, "L"), {}),
    "CMYK": (noise(50, 70, "CMYK"), {}),
    "4:4:4": (noise(61, 47), {"subsampling": 0}),
    "restarts": (noise(61, 47), {"restart_marker_rows": 1}),
    "own codes": (noise(61, 47), {"optimize": True}),
    "one colour": (Image.new("RGB", (64, 64), (200, 10, 30)), {"optimize": True}),
    "white": (Image.new("L", (64, 64), 255), {}),
    "progressive": (noise(61, 47), {"progressive": True}),
    "progressive, smooth": (picture("RGB"), {"progressive": True, "quality": 95}),
    "progressive, grey": (noise(50, 70, "L"), {"progressive": True}),
}


def kind_of(name: str) -> bytes:
    made, options = KINDS[name]
    return encoded(made, "JPEG", **options)


def samples_of(file: bytes, min_short_side: int | None = None) -> np.ndarray:
    return np.asarray(decode(file, LIMITS, min_short_side, fast=min_short_side is not None).rgb)


@pytest.mark.parametrize("less", [1, 2])
@pytest.mark.parametrize("name", KINDS)
def test_a_picture_that_lacks_its_end_alone_is_decoded(name: str, less: int) -> None:
    file = kind_of(name)
    assert file.endswith(b"\xff\xd9")
    assert (samples_of(file[:-less]) == samples_of(file)).all()


def test_so_is_one_at_a_fraction_of_its_size() -> None:
    file = encoded(noise(400, 330), "JPEG")
    assert samples_of(file[:-2], 80).shape == (83, 100, 3)
    assert (samples_of(file[:-2], 80) == samples_of(file, 80)).all()


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_that_lacks_data_is_refused_wherever_it_was_cut(name: str) -> None:
    file = kind_of(name)
    whole = samples_of(file)
    for end in (*range(len(file) - 3, len(file) - 60, -1), *range(len(file) - 60, 40, -7)):
        try:
            found = samples_of(file[:end])
        except UndecodableImage:
            continue
        # The last bits may say nothing that could be said otherwise.
        assert len(file) - end < 6, f"{len(file) - end} bytes less"
        assert (found == whole).all()


def test_a_progressive_picture_whose_last_scan_is_missing_is_refused() -> None:
    file = kind_of("progressive, smooth")
    last = file.rindex(b"\xff\xda")
    assert samples_of(file[:last] + b"\xff\xd9").any()  # libjpeg fills up, and says nothing
    with pytest.raises(UndecodableImage):
        decode(file[:last], LIMITS)


def test_a_picture_with_an_end_does_not_lack_it() -> None:
    assert not lacks_only_its_end(kind_of("smooth"), None)


def segment(kind: int, contents: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, 2 + len(contents)) + contents


ADOBE = b"Adobe\0\x64\0\0\0\0"
"""Up to what says how colours are transformed: 0 not at all, 1 YCbCr, 2 YCCK."""


@pytest.mark.parametrize(
    "odd",
    [
        lambda file: file + b"behind it" * 999,
        lambda file: file + kind_of("grey"),
        lambda file: file[:2] + segment(0xFE, b"") + file[2:],
        lambda file: file[:2] + segment(0xE5, bytes(65_000)) * 3 + file[2:],
        lambda file: file[:2] + b"\xff\xff\xff" + file[2:],
        lambda file: file[:2] + segment(0xEE, ADOBE + b"\1") * 2 + file[2:],
        lambda file: file[:2] + segment(0xE1, b"Exif\0\0broken") + file[2:],
        lambda file: file[:2] + segment(0xE2, b"MPF\0broken") + file[2:],
        lambda file: file[:2] + segment(0xE2, b"ICC_PROFILE\0\1\2half") + file[2:],
        lambda file: file[:-2] + bytes(99) + file[-2:],
    ],
)
def test_what_is_odd_about_a_file_is_not_the_pictures(odd: Any) -> None:
    file = kind_of("noise")
    assert (samples_of(odd(file)) == samples_of(file)).all()


def test_a_file_that_does_not_begin_as_a_jpeg_is_none() -> None:
    with pytest.raises(UnsupportedImageFormat):
        decode(b"\0" + kind_of("noise"), LIMITS)


@pytest.mark.parametrize("kind", [0xC3, 0xC5, 0xC7, 0xCB])
def test_what_libjpeg_does_not_decode_is_named(kind: int) -> None:
    file = kind_of("noise").replace(b"\xff\xc0", bytes([0xFF, kind]), 1)
    with pytest.raises(UndecodableImage, match="JPEG of a kind that is not read"):
        decode(file, LIMITS)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_twelve_bits_are_refused_by_their_name(shape: tuple[int, ...]) -> None:
    samples = np.random.default_rng(1).integers(0, 4096, shape, dtype=np.uint16)
    with pytest.raises(UndecodableImage, match="not of 8 bits a sample"):
        decode(bytes(imagecodecs.jpeg8_encode(samples, bitspersample=12)), LIMITS)


def test_a_broken_one_is_no_other_format() -> None:
    file = kind_of("noise")
    with pytest.raises(UndecodableImage, match="broken or cut short"):
        decode(file[:2] + segment(0xEE, b"Adobe") + file[2:], LIMITS)


@pytest.mark.parametrize("side", [None, 64])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 4}], ids=["plain", "restarts"])
def test_a_picture_that_was_cut_and_given_an_end_is_refused(
    mode: str, side: int | None, options: dict[str, Any]
) -> None:
    file = encoded(noise(200, 160, mode), "JPEG", quality=90, **options)
    decode(file, LIMITS, side, fast=True)
    for part in (0.3, 0.6, 0.9, 0.97):
        cut = file[: int(part * len(file))].removesuffix(b"\xff") + END
        with pytest.raises(UndecodableImage):
            decode(cut, LIMITS, side, fast=True)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(("mode", "grey"), [("L", 128), ("RGB", (128, 128, 128)), ("CMYK", (127, 127, 127, 127))])
def test_a_picture_that_is_grey_itself_is_decoded(mode: str, grey: Any, progressive: bool) -> None:
    file = encoded(Image.new(mode, (200, 160), grey), "JPEG", progressive=progressive)
    with Image.open(io.BytesIO(file)) as opened:
        expected = opened.convert("RGB").tobytes()
    assert decode(file, LIMITS).rgb.tobytes() == expected
    assert decode(file + b"behind its end" + file, LIMITS).rgb.tobytes() == expected


def test_inks_that_may_be_meant_otherwise_are_warned_of() -> None:
    file = encoded(noise(50, 70, "CMYK"), "JPEG")
    place = file.index(b"\xff\xee\0\x0eAdobe")
    bare = file[:place] + file[place + 16 :]
    assert decode(file, LIMITS).warnings == ()
    assert decode(bare, LIMITS).warnings == (INKS_WARNING,)
    assert decode(bare, LIMITS).rgb.tobytes() == decode(file, LIMITS).rgb.tobytes()
