"""A IIIF manifest or collection -> its canvases, each with the picture that is painted on it.

Source: IIIF Presentation API 2.1.1 and 3.0.0. Only the manifest or collection itself is looked at;
what it refers to is yielded as a `Part`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from service.errors import GazeError, ImageFetchFailed
from service.iiif.document import Document, http_uri, kind, label, objects, texts, uri, without_prefix
from service.iiif.image_api import base_uri, is_image_service, url_of_part
from service.images.fetch.fetcher import MAX_URL_CHARACTERS

# By version 3; by 2.1, by 2.0.
_PARTS = ("items", "members", "collections", "manifests")
_WRAPPED = {"Choice": ("items", "default", "item"), "SpecificResource": ("source", "full")}
_MOST_WRAPPINGS = 4
_PICTURES = ("Image", "StillImage", "")
# What identifies a canvas, besides http and https, wherever it is read.
_NAMES = ("urn:", "info:", "tag:", "ark:", "doi:", "hdl:", "did:")
_FRAGMENT = re.compile(r"xywh=(?:pixel:)?(?:(percent):)?([0-9.]+(?:,[0-9.]+){3})")

_Image = tuple[str, bool, str | None]  # a picture as Canvas has it: `image`, `is_service` and `own_image`


@dataclass(frozen=True)
class Canvas:
    """A picture that a IIIF URI leads to.

    id, manifest: URIs of the canvas and of its manifest, which with the canvas's place stands for an id that the canvas
                  lacks; None where the URI was one of an image
    label:        of the canvas, on one line
    image:        the base URI of an image service, else the picture's own URL
    is_service:   which of the two `image` is
    own_image:    the picture's own URL where `image` is a service, if it has one
    """

    id: str | None
    label: str | None
    manifest: str | None
    image: str
    is_service: bool
    own_image: str | None = None


@dataclass(frozen=True)
class Broken:
    """A canvas, manifest or collection that gives no picture: its URI, or its place in its document, and why."""

    id: str
    error: GazeError


@dataclass(frozen=True)
class Part:
    """A manifest or collection that a collection lists.

    document: None where the collection only refers to it
    follows:  whether it is the next page of the collection that names it last, and so no deeper than that
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
    meant = kind(document) or _kind_by_contents(document)
    if meant == "Manifest":
        return _canvases(document, own, found_at)
    if meant == "Collection":
        return _parts(document, own)
    raise ImageFetchFailed("The document is neither a IIIF manifest nor a IIIF collection.")


def _kind_by_contents(document: Document) -> str:
    """Return what a document that does not say it must be, by what only a manifest or only a collection holds."""
    held = list(objects(document.get("items")))
    kinds = set(map(kind, held))
    if "sequences" in document or "Canvas" in kinds or any(next(_paintings(entry), None) for entry in held):
        return "Manifest"
    is_collection = any(key in document for key in _PARTS[1:]) or not kinds.isdisjoint(("Manifest", "Collection"))
    return "Collection" if is_collection else ""


def _parts(collection: Document, own: str) -> Iterator[Broken | Part]:
    pages_follow = not any(page in collection for page in ("next", "first"))
    listed = [
        (f"{own}#/{key}/{place}", entry)
        for key in _PARTS
        if isinstance(collection.get(key), list)
        for place, entry in enumerate(collection[key])
    ]
    for number, (pointer, entry) in enumerate(listed, start=1):
        named = uri(entry) if isinstance(entry, dict) else http_uri(entry)
        whole = isinstance(entry, dict) and ("sequences" in entry or any(held in entry for held in _PARTS))
        follows = number == len(listed) and pages_follow and _is_page_behind([entry for _, entry in listed])
        if whole:
            yield Part(named or pointer, entry, follows=follows)
        elif named:
            yield Part(named, follows=follows)
        else:
            yield Broken(pointer, ImageFetchFailed("This entry of the collection has no id that can be fetched."))
    for page in ("next", "first"):
        if page in collection:
            said = collection[page]
            named = uri(said) if isinstance(said, dict) else http_uri(said)
            if named:
                yield Part(named, follows=True)
            else:
                yield Broken(f"{own}#/{page}", ImageFetchFailed("This page of the collection cannot be fetched."))
            return
    if not any(isinstance(collection.get(key), list) for key in _PARTS):
        yield Broken(own, ImageFetchFailed("The collection lists nothing."))


def _is_page_behind(listed: list[object]) -> bool:
    """Say whether the last of a collection's entries goes on with it: the one collection behind what is none."""
    *before, last = (isinstance(entry, dict) and kind(entry) == "Collection" for entry in listed)
    return last and bool(before) and not any(before)


def _canvases(manifest: Document, own: str, found_at: str) -> Iterator[Canvas | Broken]:
    holder, path = manifest, "#/items"
    if "items" not in manifest:
        # Other sequences are other orders of the same canvases.
        holder, path = next(objects(manifest.get("sequences")), {}), "#/sequences/0/canvases"
    listed = holder.get("items", holder.get("canvases"))
    if not isinstance(listed, list):
        yield Broken(own, ImageFetchFailed("The manifest has no canvases."))
        return
    for place, entry in enumerate(listed):
        yield _canvas(entry, own, f"{own}{path}/{place}", found_at)


def _canvas(entry: object, manifest: str, pointer: str, found_at: str) -> Canvas | Broken:
    # An entry without a type is in a list of canvases alone.
    if not isinstance(entry, dict) or kind(entry) not in ("Canvas", ""):
        return Broken(pointer, ImageFetchFailed("This entry of the manifest is no canvas."))
    canvas_id = uri(entry) or _name(entry) or pointer
    for annotation in _paintings(entry):
        if found := _image(annotation.get("body", annotation.get("resource")), found_at):
            return Canvas(canvas_id, label(entry), manifest, *found)
    return Broken(canvas_id, ImageFetchFailed("No image that can be fetched is painted on this canvas."))


def _name(entry: Document) -> str | None:
    """Return an id that is no address and is globally unique; None where there is none."""
    named = entry.get("id", entry.get("@id"))
    if not isinstance(named, str) or len(named) > MAX_URL_CHARACTERS or not named.isprintable():
        return None
    return named if named.lower().startswith(_NAMES) else None


def _paintings(canvas: Document) -> Iterator[Document]:
    """Yield the annotations that paint a canvas: those that say so, then those that do not say what they do there."""
    paged = [entry for page in objects(canvas.get("items")) for entry in objects(page.get("items"))]
    annotations = [*paged, *objects(canvas.get("images"))]
    for annotation in annotations:
        if any(without_prefix(one).lower() == "painting" for one in texts(annotation.get("motivation"))):
            yield annotation
    for annotation in annotations:
        if annotation.get("motivation") is None:
            yield annotation


def _image(body: object, beside: str, wrappings: int = 0) -> _Image | None:
    """Return the first picture of a body; None if it has none.

    beside: the URI that relative ones are relative to
    """
    for candidate in body if isinstance(body, list) else [body]:
        found = None
        if isinstance(candidate, str) and (named := http_uri(candidate)):
            return named, False, None
        if not isinstance(candidate, dict):
            continue
        if kind(candidate) in _WRAPPED and wrappings < _MOST_WRAPPINGS:
            within = (_image(candidate.get(key), beside, wrappings + 1) for key in _WRAPPED[kind(candidate)])
            found = _part_of_a_service(candidate, beside) or next(filter(None, within), None)
        elif kind(candidate) in _PICTURES:
            found = _own_image(candidate, beside)
        if found:
            return found
    return None


def _part_of_a_service(resource: Document, beside: str) -> _Image | None:
    """Return the part of an image that a SpecificResource selects, where the image has a service that can give it."""
    for selector in objects(resource.get("selector")):
        region, rotation = (str(selector.get(key) or "") for key in ("region", "rotation"))
        if fragment := _FRAGMENT.fullmatch(next(texts(selector.get("value")), "")[:MAX_URL_CHARACTERS]):
            region = f"pct:{fragment[2]}" if fragment[1] else fragment[2]
        for picture in objects(resource.get("source", resource.get("full"))):
            for service in objects(picture.get("service")):
                base = uri(service, beside)
                if base and is_image_service(service):
                    part = url_of_part(service, base_uri(base), region, rotation)
                    return (part, False, None) if part else None
    return None


def _own_image(picture: Document, beside: str) -> _Image | None:
    own = uri(picture, beside)
    for service in objects(picture.get("service")):
        service_uri = uri(service, beside)
        if service_uri and is_image_service(service):
            return base_uri(service_uri), True, own
    return (own, False, None) if own else None
