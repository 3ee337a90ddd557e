"""A picture that was read, or could not be read, leaves nothing behind."""

import struct
import sys
import time
import zlib
from dataclasses import replace

import pytest

from service.api.images import ImageServices, RequestImages
from service.api.query import ImageSource, ResolvedImage
from service.api.request_context import RequestContext, RequestDeadline
from service.errors import GazeError
from service.images.decode import ImageLimits
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FetchLimits, ImageFetcher
from service.images.isolation.decoder import Decoder
from service.images.loader import ImageLoader
from service.limits.admission import Admission
from service.zero_shot.preprocessing.preparation import Preparation
from tests.conftest import encoded, noise

LIMITS = ImageLimits(1024**2, 1_000_000)
PREPARE = Preparation(2, None, (2, 2), 3, 1 / 255, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


@pytest.fixture
def services() -> ImageServices:
    admission = Admission(4, 4)
    admission.try_acquire()  # which the request has that reads
    fetcher = ImageFetcher(FetchPolicy.parse("off"), FetchLimits(LIMITS.max_bytes, 5.0))
    return ImageServices(ImageLoader(fetcher, Decoder(LIMITS, 2)), admission, cores=2)


def loader(services: ImageServices) -> RequestImages:
    now = time.monotonic()
    return RequestImages(
        services, RequestContext("id", now, RequestDeadline(now + 30), RequestDeadline(now + 32), None), 224
    )


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
def test_error_keeps_no_bytes_of_the_image(services: ImageServices, broken: bytes) -> None:
    source = ImageSource("upload", None, broken)
    before = sys.getrefcount(broken)
    error = loader(services).load(ResolvedImage(source), PREPARE, 448)
    assert isinstance(error, GazeError)
    assert (error.__context__, error.__traceback__) == (None, None)
    assert sys.getrefcount(broken) == before


def test_error_of_a_dead_decoder_keeps_no_bytes(services: ImageServices) -> None:
    dying = replace(
        services,
        loader=replace(services.loader, decoder=Decoder(LIMITS, 2, program="raise SystemExit(1)")),
    )
    file = encoded(noise(300, 200), "TIFF")
    before = sys.getrefcount(file)
    error = loader(dying).load(ResolvedImage(ImageSource("upload", None, file)), PREPARE, 448)
    assert isinstance(error, GazeError)
    assert (error.__context__, error.__traceback__) == (None, None)
    assert sys.getrefcount(file) == before


def test_loaded_image_keeps_no_encoded_bytes(services: ImageServices) -> None:
    file = encoded(noise(300, 200))
    before = sys.getrefcount(file)
    picture = loader(services).load(ResolvedImage(ImageSource("upload", None, file)), PREPARE, 448)
    assert not isinstance(picture, GazeError)
    assert picture.inputs["pixel_values"].shape == (3, 2, 2)
    assert sys.getrefcount(file) == before


def test_slots_are_given_back_whatever_becomes_of_an_image(services: ImageServices) -> None:
    for source in (
        ImageSource("url", None, "http://gaze.invalid/"),
        ImageSource("base64", None, "!"),
        ImageSource("upload", None, b"A picture of a river."),
    ):
        assert isinstance(loader(services).load(ResolvedImage(source), PREPARE, 448), GazeError)
        assert services.admission.taken == 1
