"""A picture that was read, or could not be read, leaves nothing behind."""

import struct
import sys
import time
import zlib
from dataclasses import replace

import pytest

from service.api.claim import Claim
from service.api.pictures import PictureParts, PictureReader, StageTimes
from service.api.query import ImageSource
from service.errors import GazeError
from service.images.decode import ImageLimits
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FetchLimits, ImageFetcher
from service.images.isolation.decoder import Decoder
from service.limits.admission import Admission
from service.zero_shot.preprocessing.preparation import Preparation
from tests.conftest import encoded, noise

LIMITS = ImageLimits(1024**2, 1_000_000)
PREPARE = Preparation(2, None, (2, 2), 3, 1 / 255, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


@pytest.fixture
def parts() -> PictureParts:
    admission = Admission(4, 4)
    admission.take()  # which the request has that reads
    fetcher = ImageFetcher(FetchPolicy.parse("off"), FetchLimits(LIMITS.max_bytes, 5.0))
    return PictureParts(fetcher, admission, Decoder(LIMITS, 2), LIMITS, cores=2, fast=False)


def reader(parts: PictureParts) -> PictureReader:
    return PictureReader(parts, Claim(time.monotonic() + 30), StageTimes(), 224)


def with_other_samples(samples: bytes) -> bytes:
    """Return a PNG that is whole but for what its samples are packed in."""
    picture = encoded(noise(300, 200))
    start = picture.index(b"IDAT")
    chunk = b"IDAT" + zlib.compress(samples)
    return picture[: start - 4] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + END


END = bytes(4) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
BROKEN = {
    "PNG": encoded(noise(300, 200))[:20_000],
    "PNG that the service decodes itself": with_other_samples(b"\7" * 901 * 200),
    "TIFF": encoded(noise(300, 200), "TIFF")[:20_000],
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_picture_is_not_kept_by_what_is_said_of_it(parts: PictureParts, broken: bytes) -> None:
    source = ImageSource("upload", None, broken)
    before = sys.getrefcount(broken)
    error = reader(parts).read(source, PREPARE, 448)
    assert isinstance(error, GazeError)
    assert (error.__context__, error.__traceback__) == (None, None)
    assert sys.getrefcount(broken) == before


def test_nor_is_one_whose_decoder_died(parts: PictureParts) -> None:
    dying = replace(parts, decoder=Decoder(LIMITS, 2, program="raise SystemExit(1)"))
    file = encoded(noise(300, 200), "TIFF")
    before = sys.getrefcount(file)
    error = reader(dying).read(ImageSource("upload", None, file), PREPARE, 448)
    assert isinstance(error, GazeError)
    assert (error.__context__, error.__traceback__) == (None, None)
    assert sys.getrefcount(file) == before


def test_a_picture_that_was_read_is_not_kept_either(parts: PictureParts) -> None:
    file = encoded(noise(300, 200))
    before = sys.getrefcount(file)
    picture = reader(parts).read(ImageSource("upload", None, file), PREPARE, 448)
    assert not isinstance(picture, GazeError)
    assert picture.inputs["pixel_values"].shape == (3, 2, 2)
    assert sys.getrefcount(file) == before


def test_places_are_as_before_whatever_became_of_a_picture(parts: PictureParts) -> None:
    for source in (
        ImageSource("url", None, "http://gaze.invalid/"),
        ImageSource("base64", None, "!"),
        ImageSource("upload", None, b"A picture of a river."),
    ):
        assert isinstance(reader(parts).read(source, PREPARE, 448), GazeError)
        assert parts.admission.taken == 1
