"""Images as they were sent -> pictures that the model can take, within a request's time."""

import binascii
import string
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from numpy.typing import NDArray

from service.api import metrics
from service.api.claim import Claim
from service.api.query import ImageSource
from service.api.schemas.responses import ImageInfo, Size
from service.errors import GazeError, ImageTooLarge, UndecodableImage
from service.iiif.allowance import Allowance
from service.iiif.reader import IiifReader
from service.images.decode import ImageLimits
from service.images.fetch.fetcher import FETCH_SECONDS, ImageFetcher
from service.images.isolation.decoder import Decoder, Prepare, PreparedImage
from service.images.tiled import TiledImage
from service.limits.admission import Admission

# What the IIIF documents of one request may come to: it may lead to 32 pictures, each with an info.json of its own.
IIIF_DOCUMENTS = 100
IIIF_BYTES = 4 * 1024 * 1024
IIIF_VALUES = 100_000
IIIF_TILES = 512
IIIF_DEPTH = 5

STAGES = ("fetch", "decode", "encode", "rank")


@dataclass
class StageTimes:
    """Milliseconds that a request spent on each stage; 0 where it had none of it."""

    milliseconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.milliseconds[stage] += (time.perf_counter() - started) * 1000


@dataclass(frozen=True)
class PictureParts:
    """What reading pictures takes.

    cores: what all requests of this process have for decoding, together
    fast:  whether a JPEG within the limits may be decoded at a fraction of its size too
    """

    fetcher: ImageFetcher
    admission: Admission
    decoder: Decoder
    limits: ImageLimits
    cores: int
    fast: bool


@dataclass(frozen=True)
class Picture:
    """A picture that was decoded: what an answer says of it, what was made of it, by name, and what to warn of."""

    info: ImageInfo
    inputs: Mapping[str, NDArray[Any]]
    warnings: tuple[str, ...]


class PictureReader:
    """Fetches and decodes the pictures of one request.

    short_side: pixels of the shorter side that IIIF servers are asked for
    iiif:       reads the request's IIIF documents
    """

    def __init__(self, parts: PictureParts, claim: Claim, times: StageTimes, short_side: int) -> None:
        self._parts = parts
        self._claim = claim
        self._times = times
        self._short_side = short_side
        self.iiif = IiifReader(
            parts.fetcher, Allowance(IIIF_DOCUMENTS, IIIF_BYTES, IIIF_VALUES, IIIF_TILES), claim.require, IIIF_DEPTH
        )

    def read(
        self,
        source: ImageSource,
        prepare: Prepare,
        min_short_side: int,
        *,
        exact: bool = False,
        seconds: float = FETCH_SECONDS,
    ) -> Picture | GazeError:
        """Return what `prepare` makes of one picture, or what is wrong with the picture.

        min_short_side: as decode() has it
        exact:          whether no picture within the limits is decoded at a fraction of its size
        seconds:        how long fetching it may take
        """
        try:
            self._claim.require()
            encoded_image = self._encoded(source, seconds)
            if isinstance(encoded_image, TiledImage):
                with self._times.of("decode"):
                    cores = self._parts.cores // self._parts.admission.taken
                    image = encoded_image.prepared(self._parts.decoder, prepare, cores, self._claim.require)
                    return Picture(_info(source, image), image.inputs, image.warnings)
            # Decoding takes memory for the whole picture: so many at a time as can run at a time.
            with self._parts.decoder.slot(encoded_image) as decode, self._times.of("decode"):
                self._claim.require()
                # A request that is alone has the other cores as well.
                cores = self._parts.cores // self._parts.admission.taken
                image = decode(prepare, min_short_side, cores, fast=self._parts.fast and not exact)
                return Picture(_info(source, image), image.inputs, image.warnings)
        except GazeError as error:
            metrics.IMAGES.labels(source.source, error.code).inc()
            # Its frames, and those of what it came of, would keep the whole picture in memory.
            error.__context__ = None
            return error.with_traceback(None)

    def _encoded(self, source: ImageSource, seconds: float) -> bytes | TiledImage:
        if isinstance(source.content, bytes):
            return source.content
        if source.source in ("url", "iiif"):
            with self._times.of("fetch"), self._parts.admission.fetching():
                deadline = min(self._claim.deadline, time.monotonic() + seconds)
                if source.source == "url":
                    return self._parts.fetcher.fetch(str(source.content), deadline)
                return self.iiif.fetch_image(source.canvas or str(source.content), self._short_side, deadline)
        return _from_base64(source.content, self._parts.limits.max_bytes)


def _from_base64(text: str, max_bytes: int) -> bytes:
    text = text.strip()
    if text[:5].lower() == "data:":
        text = unquote(text.partition(",")[2])  # as in any URL
    if " " in text.lstrip() and "\n" not in text:  # a form that is read makes a blank of each +
        # Left out, as white space is, it would shift all that follows: a JPEG of that may still be decoded, to noise.
        raise UndecodableImage("The image is no base64 text: it has blanks, where + may have stood before.")
    for white in string.whitespace:  # not by split(), whose pieces can take ten times the text's memory
        text = text.replace(white, "")
    if len(text) * 3 // 4 > max_bytes + 2:
        raise ImageTooLarge(f"The image has more than the {max_bytes} bytes that this service takes.")
    # URL-safe (RFC 4648, section 5), and without padding (section 3.2) or with some too many, is what programs send.
    text = text.replace("-", "+").replace("_", "/").rstrip("=")
    text += "=" * (-len(text) % 4)
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        decoded = b""
    if not decoded:
        raise UndecodableImage("The image is no base64 text, or it is empty.")
    return decoded


def said_of(source: ImageSource) -> dict[str, Any]:
    """Return what an answer says of an image as it was sent; what is not known of it is not said."""
    known = {
        "object_number": source.object_number,
        "canvas": source.canvas and source.canvas.id,
        "manifest": source.canvas and source.canvas.manifest,
    }
    return {
        "source": source.source,
        "name": source.name,
        **{key: value for key, value in known.items() if value is not None},
    }


def warnings_of(pictures: Sequence[Picture | GazeError]) -> list[str]:
    """Return what to warn of, saying which picture it is where there are several."""
    return [
        sentence if len(pictures) == 1 else f"Picture {number}: {sentence}"
        for number, picture in enumerate(pictures, start=1)
        if isinstance(picture, Picture)
        for sentence in picture.warnings
    ]


def _info(source: ImageSource, image: PreparedImage) -> ImageInfo:
    info = ImageInfo(
        **said_of(source), sha256=image.sha256, format=image.format, width=image.width, height=image.height
    )
    if image.decoded_at:
        info.decoded_at = Size(width=image.decoded_at[0], height=image.decoded_at[1])
    return info
