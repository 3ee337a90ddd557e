"""The images of a request -> pictures that the model can take, within the request's time."""

import binascii
import string
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from numpy.typing import NDArray

from service.api.query import ImageSource, ResolvedImage
from service.api.request_context import STAGES, RequestContext
from service.api.schemas.requests import MAX_IMAGES
from service.api.schemas.responses import ImageInfo, Size
from service.errors import FieldError, GazeError, ImageFetchFailed, ImageTooLarge, InvalidRequest, UndecodableImage
from service.iiif.document import IiifBudget
from service.iiif.presentation import Broken
from service.iiif.reader import IiifReader
from service.images.decode import Prepare, PreparedImage
from service.images.fetch.fetcher import FETCH_SECONDS
from service.images.loader import EncodedImage, ImageLoader
from service.limits.admission import Admission

# What the IIIF documents of one request may come to: it may lead to 32 pictures, each with an info.json of its own.
IIIF_DOCUMENTS = 100
IIIF_BYTES = 4 * 1024 * 1024
IIIF_VALUES = 100_000
IIIF_TILES = 512
IIIF_DEPTH = 5


@dataclass(frozen=True)
class ImageServices:
    """What loading images takes, shared by all requests.

    cores: what all requests of this process have for decoding, together
    """

    loader: ImageLoader
    admission: Admission
    cores: int


@dataclass(frozen=True)
class LoadedImage:
    """A picture that was decoded: what an answer says of it, what was made of it, by name, and what to warn of."""

    info: ImageInfo
    inputs: Mapping[str, NDArray[Any]]
    warnings: tuple[str, ...]


class RequestImages:
    """Fetches and decodes the images of one request.

    short_side: pixels of the shorter side that IIIF servers are asked for
    """

    def __init__(self, services: ImageServices, context: RequestContext, short_side: int) -> None:
        self._services = services
        self._context = context
        self._short_side = short_side
        context.stages.update(dict.fromkeys(STAGES, 0.0))

    def resolve(self, sources: Sequence[ImageSource]) -> list[ResolvedImage]:
        """Return the pictures that all sources stand for, in their order: a IIIF manifest stands for all its canvases.

        Raises InvalidRequest where they are too many.
        """
        resolved: list[ResolvedImage] = []
        for source in sources:
            if source.source == "iiif":
                resolved.extend(self._canvases(source, MAX_IMAGES + 1 - len(resolved)))
            else:
                resolved.append(ResolvedImage(source))
            if source.source == "iiif" and len(resolved) > MAX_IMAGES:
                many = f"A request may lead to {MAX_IMAGES} pictures, and this has more. 'gaze bulk' takes any number."
                raise InvalidRequest(errors=(FieldError(source.pointer, many),))
        return resolved

    def load(
        self,
        image: ResolvedImage,
        prepare: Prepare,
        min_short_side: int,
        *,
        exact: bool = False,
        seconds: float = FETCH_SECONDS,
    ) -> LoadedImage | GazeError:
        """Return what `prepare` makes of one picture, or what is wrong with the picture.

        min_short_side: as decode() has it
        exact:          whether no picture within the limits is decoded at a fraction of its size
        seconds:        how long fetching it may take
        """
        if image.error:
            return image.error
        context = self._context
        try:
            encoded = self._encoded(image.source, seconds)
            decoded = self._services.loader.load(
                encoded,
                prepare,
                min_short_side,
                # A request that is alone has the cores of the others as well.
                self._services.cores // self._services.admission.taken,
                exact=exact,
                check=context.deadline.check,
                timing=context.stage("decode"),
            )
            return LoadedImage(_info(image.source, decoded), decoded.inputs, decoded.warnings)
        except GazeError as error:
            return self._failed(image.source, error)

    @cached_property
    def _iiif(self) -> IiifReader:
        budget = IiifBudget(IIIF_DOCUMENTS, IIIF_BYTES, IIIF_VALUES, IIIF_TILES)
        return IiifReader(self._services.loader.fetcher, budget, self._context.deadline.check, IIIF_DEPTH)

    def _canvases(self, source: ImageSource, most: int) -> list[ResolvedImage]:
        try:
            self._context.deadline.check()
            with self._context.stage("fetch"), self._services.admission.fetching():
                return list(self._read_canvases(source, most)) or [
                    ResolvedImage(source, self._failed(source, ImageFetchFailed("The IIIF document has no pictures.")))
                ]
        except GazeError as error:
            return [ResolvedImage(source, self._failed(source, error))]

    def _read_canvases(self, source: ImageSource, most: int) -> Iterator[ResolvedImage]:
        for found in self._iiif.pictures(str(source.content), self._fetched_by(FETCH_SECONDS), most):
            if isinstance(found, Broken):
                yield ResolvedImage(replace(source, name=found.id), self._failed(source, found.error))
            else:
                yield ResolvedImage(replace(source, name=found.label, canvas=found))

    def _encoded(self, source: ImageSource, seconds: float) -> EncodedImage:
        if isinstance(source.content, bytes):
            return source.content
        self._context.deadline.check()
        if source.source == "base64":
            return _from_base64(source.content, self._services.loader.decoder.limits.max_bytes)
        with self._context.stage("fetch"), self._services.admission.fetching():
            deadline = self._fetched_by(seconds)
            if source.source == "url":
                return self._services.loader.read(source.content, deadline)
            return self._iiif.fetch_image(source.canvas or source.content, self._short_side, deadline)

    def _fetched_by(self, seconds: float) -> float:
        return min(self._context.deadline.at, time.monotonic() + seconds)

    def _failed(self, source: ImageSource, error: GazeError) -> GazeError:
        """Count an image that cannot be had, and return why without the frames that hold its bytes in memory."""
        self._context.image_outcomes[source.source, error.code] += 1
        error.__context__ = None
        return error.with_traceback(None)


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


def warnings_of(pictures: Sequence[LoadedImage | GazeError]) -> list[str]:
    """Return what to warn of, saying which picture it is where there are several."""
    return [
        sentence if len(pictures) == 1 else f"Picture {number}: {sentence}"
        for number, picture in enumerate(pictures, start=1)
        if isinstance(picture, LoadedImage)
        for sentence in picture.warnings
    ]


def _info(source: ImageSource, image: PreparedImage) -> ImageInfo:
    info = ImageInfo(
        **said_of(source), sha256=image.sha256, format=image.format, width=image.width, height=image.height
    )
    if image.decoded_at:
        info.decoded_at = Size(width=image.decoded_at[0], height=image.decoded_at[1])
    return info
