"""A IIIF manifest or collection -> its canvases, each with the picture that is painted on it.

Source: IIIF Presentation API 2.1.1 and 3.0.0. Only the manifest or collection itself is looked at;
what it refers to is told as a `Part`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from service.errors import GazeError, ImageFetchFailed
from service.iiif.document import Document, http_uri, kind, label, objects, uri
from service.iiif.image_api import base_uri, is_image_service

# By version 3; by 2.1, by 2.0.
_PARTS = ("items", "members", "collections", "manifests")
_WRAPPED = {"Choice": ("items", "default", "item"), "SpecificResource": ("source", "full")}
_MOST_WRAPPINGS = 4


@dataclass(frozen=True)
class Canvas:
    """A picture that a IIIF URI leads to.

    id, manifest: URIs of the canvas and of its manifest; None where the URI was one of an image
    label:        of the canvas, on one line
    image:        the base URI of an image service, else the picture's own URL
    is_service:   which of the two `image` is
    """

    id: str | None
    label: str | None
    manifest: str | None
    image: str
    is_service: bool


@dataclass(frozen=True)
class Broken:
    """A canvas, manifest or collection that gives no picture: its URI, or its place in its document, and why."""

    id: str
    error: GazeError


@dataclass(frozen=True)
class Part:
    """A manifest or collection that a collection lists.

    document: None where the collection only refers to it
    follows:  whether it is the next page of the collection that names it last
    """

    uri: str
    document: Document | None = None
    follows: bool = False


def entries(document: Document, found_at: str) -> Iterator[Canvas | Broken | Part]:
    """Yield what a manifest or collection holds, in its order.

    found_at: the URI that led to it, which stands for its own where it has none that can be used
    Raises ImageFetchFailed where the document is neither.
    """
    own = uri(document) or found_at
    if kind(document) == "Manifest":
        return _canvases(document, own)
    if kind(document) == "Collection":
        return _parts(document, own)
    raise ImageFetchFailed("The document is neither a IIIF manifest nor a IIIF collection.")


def _parts(collection: Document, own: str) -> Iterator[Broken | Part]:
    for key in _PARTS:
        listed = collection.get(key)
        for place, entry in enumerate(listed if isinstance(listed, list) else ()):
            named = uri(entry) if isinstance(entry, dict) else http_uri(entry)
            whole = isinstance(entry, dict) and ("sequences" in entry or any(held in entry for held in _PARTS))
            pointer = f"{own}#/{key}/{place}"
            if whole:
                yield Part(named or pointer, entry)
            elif named:
                yield Part(named)
            else:
                yield Broken(pointer, ImageFetchFailed("This entry of the collection has no id that can be fetched."))
    for page in ("next", "first"):
        if page in collection:
            named = http_uri(collection[page])
            if named:
                yield Part(named, follows=True)
            else:
                yield Broken(f"{own}#/{page}", ImageFetchFailed("This page of the collection cannot be fetched."))
            return
    if not any(isinstance(collection.get(key), list) for key in _PARTS):
        yield Broken(own, ImageFetchFailed("The collection lists nothing."))


def _canvases(manifest: Document, own: str) -> Iterator[Canvas | Broken]:
    holder, path = manifest, "#/items"
    if "items" not in manifest:
        # Other sequences are other orders of the same canvases.
        holder, path = next(objects(manifest.get("sequences")), {}), "#/sequences/0/canvases"
    listed = holder.get("items", holder.get("canvases"))
    if not isinstance(listed, list):
        yield Broken(own, ImageFetchFailed("The manifest has no canvases."))
        return
    for place, entry in enumerate(listed):
        yield _canvas(entry, own, f"{own}{path}/{place}")


def _canvas(entry: object, manifest: str, pointer: str) -> Canvas | Broken:
    if not isinstance(entry, dict) or kind(entry) != "Canvas":
        return Broken(pointer, ImageFetchFailed("This entry of the manifest is no canvas."))
    canvas_id = uri(entry)
    if not canvas_id:
        return Broken(pointer, ImageFetchFailed("This canvas has no id that is an http or https URI."))
    for annotation in _paintings(entry):
        if found := _image(annotation.get("body", annotation.get("resource"))):
            return Canvas(canvas_id, label(entry), manifest, *found)
    return Broken(canvas_id, ImageFetchFailed("No image that can be fetched is painted on this canvas."))


def _paintings(canvas: Document) -> Iterator[Document]:
    """Yield the annotations that paint a canvas."""
    annotations = [entry for page in objects(canvas.get("items")) for entry in objects(page.get("items"))]
    for annotation in (*annotations, *objects(canvas.get("images"))):
        motivation = annotation.get("motivation")
        if any(
            isinstance(one, str) and one.rpartition(":")[2] == "painting"
            for one in (motivation if isinstance(motivation, list) else [motivation])
        ):
            yield annotation


def _image(body: object, wrappings: int = 0) -> tuple[str, bool] | None:
    """Return the first picture of a body: its service or its own URL, and whether it is a service; None if none is."""
    for candidate in objects(body):
        found = None
        if kind(candidate) in _WRAPPED and wrappings < _MOST_WRAPPINGS:
            within = (_image(candidate.get(key), wrappings + 1) for key in _WRAPPED[kind(candidate)])
            found = next(filter(None, within), None)
        elif kind(candidate) in ("Image", ""):
            found = _own_image(candidate)
        if found:
            return found
    return None


def _own_image(picture: Document) -> tuple[str, bool] | None:
    for service in objects(picture.get("service")):
        service_uri = uri(service)
        if service_uri and is_image_service(service):
            return base_uri(service_uri), True
    own = uri(picture)
    return (own, False) if own else None
