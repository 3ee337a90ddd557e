"""A IIIF URI of any kind -> the pictures that it leads to, and each of them at the size that serves a model best."""

import time
from collections.abc import Callable, Iterator
from itertools import islice

from service.errors import GazeError, ImageFetchFailed, ImageFetchTimeout, ImageTooLarge, UrlNotAllowed
from service.iiif.document import Document, IiifBudget
from service.iiif.image_api import WHOLE, ImageInformation, ImageUri, TileGrid, base_uri, is_image_information
from service.iiif.presentation import Broken, Canvas, Part, entries
from service.images.fetch.fetcher import ImageFetcher
from service.images.loader import EncodedImage, Tile, TiledImage

_FAILURES = (ImageFetchFailed, ImageFetchTimeout, ImageTooLarge, UrlNotAllowed)
_BETTER_SHARE = 0.6  # of the time there is, for a better address than one that was given
_MOST_ADDRESSES = 24
_START = 64
_MARK = b"\xef\xbb\xbf \t\r\n"
_PRINTABLE = bytes((9, 10, 13, *range(32, 127)))
# What pages and messages begin with that some servers send in place of a picture, as if all were well.
_TEXT = (b"<", b"{", b"[")
_OVERWORKED = (429, 502, 503, 504)


class IiifReader:
    """Reads IIIF documents with the guards of an image's fetcher, for one request or one job.

    budget:  what they may cost in all
    check:      raises where the request is cancelled; called before each document and each picture
    most_depth: how deep collections may nest, the manifest at the bottom counted
    """

    def __init__(
        self,
        fetcher: ImageFetcher,
        budget: IiifBudget,
        check: Callable[[], object] = lambda: None,
        most_depth: int = 10,
    ) -> None:
        self._fetcher = fetcher
        self._budget = budget
        self._check = check
        self._most_depth = most_depth

    def pictures(self, uri: str, deadline: float = float("inf"), most: int | None = None) -> Iterator[Canvas | Broken]:
        """Yield what any IIIF URI leads to: the one picture of an image's URI, or canvases as they are being fetched.

        An image's URI that says so by its form is not fetched yet. Of a manifest or a collection of version 2 or 3, a
        part that cannot be read is yielded as Broken, and the others follow; one that is listed twice is read once.
        deadline: on time.monotonic()'s clock
        most:     how many entries are yielded
        Raises what ImageFetcher.fetch_document raises, with the first entry, where its own document cannot be read;
        ImageFetchTimeout at the deadline.
        """
        self._check()
        uri = uri.strip()
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

    def fetch_image(self, image: Canvas | str, short_side: int, deadline: float = float("inf")) -> EncodedImage:
        """Return a picture at the smallest size whose shorter side has so many pixels, else at the size of its own URL.

        image: a canvas, or any URI of an image of the Image API
        What a server says that it gives and then does not is left for the next best: two dozen addresses at most, and
        once the tiles of a grid, within the one deadline. A part, a turned image and a quality of its own are taken as
        they are, and so is a picture with no service.
        Raises what ImageFetcher.fetch and fetch_document raise.
        """
        self._check()
        uri = image if isinstance(image, str) else image.image
        form = ImageUri.parse(uri)
        if (form and form.own) or (form is None and isinstance(image, Canvas) and not image.is_service):
            return self._fetcher.fetch(uri, deadline)
        own = image.own_image if isinstance(image, Canvas) else None
        own_url = uri if form and form.image else own
        base = form.base if form else base_uri(uri)
        if own_url is None:
            return self._smallest(base, short_side, deadline)
        now = time.monotonic()
        try:
            # A host that is silent leaves time for the way back.
            return self._smallest(base, short_side, now + _BETTER_SHARE * (deadline - now))
        except _FAILURES:
            if time.monotonic() >= deadline:
                raise
        return self._fetcher.fetch(own_url, deadline)

    def _smallest(self, base: str, short_side: int, deadline: float) -> EncodedImage:
        information = ImageInformation.read(self._document(base + "/info.json", deadline), base)
        refusal: GazeError | None = None
        for place, request in _attempts(information, short_side):
            self._check()
            try:
                return self._attempt(information, place, request, deadline)
            except _FAILURES as error:
                if not _is_worth_another_attempt(error) or time.monotonic() >= deadline:
                    raise
                refusal = refusal if isinstance(refusal, ImageTooLarge) else error
        raise refusal or ImageFetchFailed

    def _attempt(
        self, information: ImageInformation, base: str, request: str | TileGrid, deadline: float
    ) -> EncodedImage:
        if isinstance(request, TileGrid):
            return self._tiled(information, base, request, deadline)
        return self._picture(information.url(base, request), deadline)

    def _picture(self, url: str, deadline: float, max_bytes: int | None = None) -> bytes:
        encoded = self._fetcher.fetch(url, deadline, max_bytes)
        start = encoded[:_START].lstrip(_MARK)
        if start.startswith(_TEXT) or not start.translate(None, _PRINTABLE):
            raise ImageFetchFailed("The image's host sent something else than an image.")
        return encoded

    def _tiled(self, information: ImageInformation, base: str, grid: TileGrid, deadline: float) -> TiledImage:
        self._budget.take_tiles(grid.count)
        tiles: list[Tile] = []
        left = self._fetcher.max_bytes
        form: int | None = None
        for box in grid.boxes():
            urls = information.urls_of_tile(base, grid, box)
            if form is None:
                form, encoded = self._first_form(urls, deadline)
            else:
                self._check()
                encoded = self._picture(urls[form], deadline, left)
            left = max(1, left - len(encoded))
            tiles.append(Tile(encoded, box))
        return TiledImage(*grid.size, tuple(tiles))

    def _first_form(self, urls: list[str], deadline: float) -> tuple[int, bytes]:
        """Return which of the ways to write a tile its server knows, and that tile."""
        for number, url in enumerate(urls):
            self._check()
            try:
                return number, self._picture(url, deadline)
            except ImageFetchFailed as error:
                if number == len(urls) - 1 or not _is_worth_another_attempt(error) or time.monotonic() >= deadline:
                    raise
        raise ImageFetchFailed

    def _document(self, uri: str, deadline: float) -> Document:
        self._budget.take_document()
        return self._budget.parse(self._fetcher.fetch_document(uri, deadline, self._budget.most_bytes))

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
                self._check()
                if entry.follows:
                    path.pop()
                try:
                    path.append(self._opened(entry, len(path), deadline))
                except GazeError as error:
                    if time.monotonic() >= deadline:
                        raise
                    yield Broken(entry.uri, error)
                    if not self._budget.documents:
                        return

    def _opened(self, part: Part, depth: int, deadline: float) -> Iterator[Canvas | Broken | Part]:
        if depth >= self._most_depth:
            raise ImageFetchFailed(f"Collections that nest more than {self._most_depth} deep are not read.")
        if part.document:
            self._budget.take_document()
        return entries(part.document or self._document(part.uri, deadline), part.uri)


def _attempts(information: ImageInformation, short_side: int) -> Iterator[tuple[str, str | TileGrid]]:
    """Yield base URIs and what to request below each, two dozen addresses at most.

    A server that does not know its own address is reached where it was found: early for what is most likely there, and
    late for the rest.
    """
    attempts = [
        (base, request, place > 0 and number > 0 and request not in WHOLE)
        for number, request in enumerate(information.requests(short_side))
        for place, base in enumerate(information.bases)
    ]
    left = _MOST_ADDRESSES
    for base, request, _ in sorted(attempts, key=lambda attempt: attempt[2]):
        if isinstance(request, TileGrid):
            left -= len(information.urls_of_tile(base, request, next(request.boxes()))) - 1
        left -= 1
        if left < 0:
            return
        yield base, request


def _is_worth_another_attempt(error: GazeError) -> bool:
    """Say whether another address may well do better: the host was neither slow nor overworked."""
    if isinstance(error, ImageFetchFailed):
        return error.host_status not in _OVERWORKED
    return not isinstance(error, ImageFetchTimeout)
