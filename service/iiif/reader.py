"""A IIIF URI of any kind -> the pictures that it leads to, and for each the URL that serves a model best."""

import time
from collections.abc import Callable, Iterator
from itertools import islice

from service.errors import GazeError, ImageFetchFailed
from service.iiif.allowance import Allowance
from service.iiif.document import Document, parsed, values_of
from service.iiif.image_api import ImageInformation, ImageUri, base_uri, is_image_information
from service.iiif.presentation import Broken, Canvas, Part, entries
from service.images.fetch import ImageFetcher


class IiifReader:
    """Reads IIIF documents with the guards of an image's fetcher, for one request or one job.

    allowance:  what they may cost in all
    require:    raises where nobody waits any more; asked before each document
    most_depth: how deep collections may nest, the manifest at the bottom counted
    """

    def __init__(
        self,
        fetcher: ImageFetcher,
        allowance: Allowance,
        require: Callable[[], object] = lambda: None,
        most_depth: int = 10,
    ) -> None:
        self._fetcher = fetcher
        self._allowance = allowance
        self._require = require
        self._most_depth = most_depth

    def pictures(self, uri: str, deadline: float = float("inf"), most: int | None = None) -> Iterator[Canvas | Broken]:
        """Yield what any IIIF URI leads to: the one picture of an image's URI, or canvases as they are being fetched.

        An image's URI that says so by its form is not fetched yet. Of a manifest or a collection of version 2 or 3, a
        part that cannot be read is told as Broken, and the others follow; one that is listed twice is read once.
        deadline: on time.monotonic()'s clock
        most:     how many entries are yielded
        Raises what ImageFetcher.fetch_document raises, with the first entry, where its own document cannot be read;
        ImageFetchTimeout at the deadline.
        """
        self._require()
        if form := ImageUri.parse(uri):
            yield Canvas(None, None, None, uri if form.image else form.base, is_service=not form.image)
            return
        try:
            document = self._document(uri, deadline)
        except ImageFetchFailed as error:
            # The base URI of an image; where its files are static, nothing need be there.
            document = self._information_document(base_uri(uri), deadline, error)
        if is_image_information(document):
            yield Canvas(None, None, None, base_uri(uri), is_service=True)
            return
        yield from islice(self._walk(document, uri, deadline), most)

    def image_url(self, image: Canvas | str, short_side: int, deadline: float = float("inf")) -> str:
        """Return the URL to fetch a picture from: the smallest size whose shorter side has so many pixels.

        image: a canvas, or any URI of an image of the Image API
        A part, a turned image and a quality of its own are taken as they are, and so is a picture with no service.
        Raises what ImageFetcher.fetch_document raises.
        """
        self._require()
        uri = image if isinstance(image, str) else image.image
        form = ImageUri.parse(uri)
        if (form and form.own) or (form is None and isinstance(image, Canvas) and not image.is_service):
            return uri
        base = form.base if form else base_uri(uri)
        try:
            information = ImageInformation.read(self._document(base + "/info.json", deadline), base)
        except ImageFetchFailed:
            if form and form.image:
                return uri
            raise
        return information.url(short_side)

    def _document(self, uri: str, deadline: float) -> Document:
        self._allowance.take_document()
        body = self._fetcher.fetch_document(uri, deadline, self._allowance.most_bytes)
        most_values = self._allowance.most_values
        self._allowance.take(len(body), values_of(body))
        return parsed(body, most_values)

    def _information_document(self, base: str, deadline: float, error: ImageFetchFailed) -> Document:
        try:
            return self._document(base + "/info.json", deadline)
        except ImageFetchFailed:
            raise error from None

    def _walk(self, document: Document, uri: str, deadline: float) -> Iterator[Canvas | Broken]:
        seen = {uri}
        path = [entries(document, uri)]
        while path:
            entry = next(path[-1], None)
            if entry is None:
                path.pop()
            elif not isinstance(entry, Part):
                yield entry
            elif entry.uri not in seen:
                seen.add(entry.uri)
                self._require()
                if entry.follows:
                    path.pop()
                try:
                    path.append(self._opened(entry, len(path), deadline))
                except GazeError as error:
                    if time.monotonic() >= deadline:
                        raise
                    yield Broken(entry.uri, error)
                    if not self._allowance.documents:
                        return

    def _opened(self, part: Part, depth: int, deadline: float) -> Iterator[Canvas | Broken | Part]:
        if depth >= self._most_depth:
            raise ImageFetchFailed(f"Collections that nest more than {self._most_depth} deep are not read.")
        if part.document:
            self._allowance.take_document()
        return entries(part.document or self._document(part.uri, deadline), part.uri)
