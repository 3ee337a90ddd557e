"""A museum's host: two images as level 0 trees, and manifests and collections that show them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import noise
from tests.support.iiif_tree import StaticHost, jpeg, level_0
from tests.support.origin import Origin, http


def canvas(root: str, number: int, image: str) -> dict[str, Any]:
    """Return a canvas of version 3 on which an image is painted that is given by its base URI."""
    service = {"id": image, "type": "ImageService3", "profile": "level0"}
    body = {"id": f"{image}/full/max/0/default.jpg", "type": "Image", "format": "image/jpeg", "service": [service]}
    annotation = {"id": f"{root}/p/{number}/a", "type": "Annotation", "motivation": "painting", "body": body}
    page = {"id": f"{root}/p/{number}/page", "type": "AnnotationPage", "items": [annotation]}
    return {"id": f"{root}/p/{number}", "type": "Canvas", "label": {"en": [f"Plate {number}"]}, "items": [page]}


@contextmanager
def museum(*, canvases: int = 2, broken: bool = False) -> Iterator[str]:
    """Listen, and give the address: below it lie 2/a and 3/b, images of either version, `manifest` and `collection`.

    broken: whether the last of the manifest's canvases shows an image that is not there
    """
    files = StaticHost()
    with Origin(files) as origin:
        root = f"http://127.0.0.1:{origin.port}"
        for version, name, seed in ((2, "a", 1), (3, "b", 2)):
            base = f"{root}/{version}/{name}"
            tree = level_0(jpeg(noise(900, 600, seed=seed)), version, base, (75, 450))
            files.update({f"/{version}/{name}{path}": http(body) for path, body in tree.items()})
        images = [f"{root}/{('2/a', '3/b')[number % 2]}" for number in range(canvases)]
        if broken:
            images[-1] = f"{root}/3/gone"
        shown = [canvas(root, number, image) for number, image in enumerate(images, start=1)]
        manifest: dict[str, Any] = {"@context": "http://iiif.io/api/presentation/3/context.json", "type": "Manifest"}
        manifest |= {"id": f"{root}/manifest", "label": {"en": ["Two plates"]}, "items": shown}
        part = {"id": f"{root}/manifest", "type": "Manifest", "label": {"en": ["Two plates"]}}
        collection = {**manifest, "id": f"{root}/collection", "type": "Collection", "items": [part]}
        empty = {**manifest, "id": f"{root}/empty", "items": []}
        for name, document in (("manifest", manifest), ("collection", collection), ("empty", empty)):
            files[f"/{name}"] = http(json.dumps(document).encode())
        yield root
