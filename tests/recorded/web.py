"""A museum's host on a known port of loopback: pictures, IIIF images, manifests and collections, good and bad."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fuzz.seeds import picture
from tests.support.iiif_tree import StaticHost, jpeg, level_0, tiles_only
from tests.support.origin import Hosts, http, moved, reset


@contextmanager
def museum(port: int, pictures: dict[str, bytes]) -> Iterator[None]:
    """Serve the pictures by name, and IIIF documents beside them, while a `with` block lasts."""
    root = f"http://127.0.0.1:{port}"
    files = StaticHost({f"/{name}": http(content) for name, content in pictures.items()})
    # A redirect and a query lead to a picture, too; the others fail in all ways that a host can.
    files |= {
        "/moved": moved(f"{root}/a.jpg"),
        "/moved-away": moved("http://10.0.0.1/a.jpg"),
        "/moved-to-file": moved("file:///etc/hostname"),
        "/round": moved(f"{root}/round"),
        "/nowhere": http(b"", status="302 Found"),
        "/text": http(b"not a picture"),
        "/empty": http(b""),
        "/cut": http(pictures["a.jpg"])[:-200],
        "/reset": reset,
        "/teapot": http(b"short and stout", status="418 I'm a teapot"),
        "/broken": http(b"", status="500 Internal Server Error"),
        "/later": http(b"", "Retry-After: 7", status="503 Service Unavailable"),
        "/not-http": b"SSH-2.0-OpenSSH_9.2\r\n",
        "/packed": http(b"\x1f\x8b\x08\x00", "Content-Encoding: gzip"),
        "/large": http(b"\xff\xd8" + bytes(3_000_000)),
        "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(pictures["a.jpg"]), pictures["a.jpg"]),
    }
    for name, document in _documents(root).items():
        files[f"/{name}"] = http(document if isinstance(document, bytes) else json.dumps(document).encode())
    for version, name, seed in ((2, "a", 1), (3, "b", 2)):
        base = f"{root}/{version}/{name}"
        tree = level_0(jpeg(picture("RGB", seed, (900, 600))), version, base, (75, 450))
        files |= {f"/{version}/{name}{path}": http(body) for path, body in tree.items()}
        tiles = tiles_only(picture("RGB", seed, (400, 300)), version, f"{root}/{version}/tiles", 2, 64)
        files |= {f"/{version}/tiles{path}": http(body) for path, body in tiles.items()}
    with Hosts(files, {socket.create_server(("127.0.0.1", port)): None}):
        yield


def _canvas(root: str, number: int, image: str) -> dict[str, Any]:
    service = {"id": image, "type": "ImageService3", "profile": "level0"}
    body = {"id": f"{image}/full/max/0/default.jpg", "type": "Image", "format": "image/jpeg", "service": [service]}
    annotation = {"id": f"{root}/p/{number}/a", "type": "Annotation", "motivation": "painting", "body": body}
    page = {"id": f"{root}/p/{number}/page", "type": "AnnotationPage", "items": [annotation]}
    return {"id": f"{root}/p/{number}", "type": "Canvas", "label": {"en": [f"Plate {number}"]}, "items": [page]}


def _documents(root: str) -> dict[str, Any]:
    """Return IIIF documents by name."""
    context = "http://iiif.io/api/presentation/3/context.json"
    images = (f"{root}/2/a", f"{root}/3/b")
    shown = [_canvas(root, number, image) for number, image in enumerate(images, start=1)]

    def manifest(name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        label = {"en": ["Two plates"]}
        return {"@context": context, "type": "Manifest", "id": f"{root}/{name}", "label": label, "items": items}

    part = {"id": f"{root}/manifest", "type": "Manifest", "label": {"en": ["Two plates"]}}
    image = {"@id": f"{root}/2/a", "@context": "http://iiif.io/api/image/2/context.json", "profile": "level0"}
    resource = {"@id": f"{root}/2/a/full/full/0/default.jpg", "@type": "dctypes:Image", "service": image}
    old_canvas: dict[str, Any] = {"@id": f"{root}/old/1", "@type": "sc:Canvas", "label": "Plate 1"}
    old_canvas |= {"images": [{"@type": "oa:Annotation", "motivation": "sc:painting", "resource": resource}]}
    old = {"@context": "http://iiif.io/api/presentation/2/context.json", "@type": "sc:Manifest", "@id": f"{root}/old"}
    return {
        "manifest": manifest("manifest", shown),
        "partly": manifest("partly", [shown[0], _canvas(root, 2, f"{root}/3/gone")]),
        "many": manifest("many", [_canvas(root, number, images[number % 2]) for number in range(40)]),
        "empty-manifest": manifest("empty-manifest", []),
        "collection": {**manifest("collection", [part]), "type": "Collection"},
        "round-collection": {
            **manifest("round-collection", [{**part, "id": f"{root}/round-collection", "type": "Collection"}]),
            "type": "Collection",
        },
        "old": {**old, "label": "Old plates", "sequences": [{"@type": "sc:Sequence", "canvases": [old_canvas]}]},
        "broken.json": b'{"@context": "http://iiif.io/api/presentation/3/context.json", "type": ',
        "other.json": {"type": "Person"},
        "huge/info.json": {
            "@context": "http://iiif.io/api/image/3/context.json",
            "id": f"{root}/huge",
            "type": "ImageService3",
            "profile": "level0",
            "width": 90_000,
            "height": 90_000,
        },
    }
