"""A static level 0 tree of a IIIF image: files that any host can serve, where each version of the API has them."""

import io
import json

from PIL import Image

from tests.support.origin import Answer, http

_FOUND_NOWHERE = http(b"nothing here", status="404 Not Found")


class StaticHost(dict[str, Answer]):
    """What a host of files answers: 404 for whatever is not among them."""

    def __missing__(self, path: str) -> Answer:
        return _FOUND_NOWHERE


def jpeg(picture: Image.Image) -> bytes:
    """Return a picture as JPEG."""
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=75)
    return written.getvalue()


def tiles_only(picture: Image.Image, version: int, base: str, factor: int, side: int) -> dict[str, bytes]:
    """Return the files of a tree that has tiles of one fraction of a picture and nothing else, as `level_0` does.

    They are PNGs, whatever their names say, so that together they are exactly the picture.
    """
    width, height = picture.size
    small = picture.resize((-(-width // factor), -(-height // factor)), Image.Resampling.BOX)
    context = {"@context": f"http://iiif.io/api/image/{version}/context.json", "@id" if version == 2 else "id": base}
    profile = "http://iiif.io/api/image/2/level0.json" if version == 2 else "level0"
    tiles = [{"width": side, "scaleFactors": [factor]}]
    information = {**context, "profile": profile, "width": width, "height": height, "tiles": tiles}
    files = {"/info.json": json.dumps(information).encode()}
    for top in range(0, small.height, side):
        for left in range(0, small.width, side):
            tile = small.crop((left, top, min(left + side, small.width), min(top + side, small.height)))
            x, y = left * factor, top * factor
            region = f"{x},{y},{min(side * factor, width - x)},{min(side * factor, height - y)}"
            size = f"{tile.width}," if version == 2 else f"{tile.width},{tile.height}"
            written = io.BytesIO()
            tile.save(written, "PNG")
            files[f"/{region}/{size}/0/default.jpg"] = written.getvalue()
    return files


def level_0(whole: bytes, version: int, base: str, widths: tuple[int, ...]) -> dict[str, bytes]:
    """Return the files of a tree, by what comes behind its base URI.

    whole:  the picture itself, as JPEG
    widths: of the sizes that the tree has
    """
    with Image.open(io.BytesIO(whole)) as opened:
        width, height = opened.size
        sizes = {wide: round(height * wide / width) for wide in widths}
        # Decoded once, and at a fraction of its size where JPEG can.
        opened.draft("RGB", (max(widths), sizes[max(widths)]))
        large = opened.convert("RGB")
    information = {
        "protocol": "http://iiif.io/api/image",
        "width": width,
        "height": height,
        "sizes": [{"width": wide, "height": high} for wide, high in sizes.items()],
    }
    if version == 2:
        information |= {"@context": "http://iiif.io/api/image/2/context.json", "@id": base}
        information |= {"profile": ["http://iiif.io/api/image/2/level0.json"]}
    else:
        information |= {"@context": "http://iiif.io/api/image/3/context.json", "id": base}
        information |= {"type": "ImageService3", "profile": "level0"}
    files = {
        "/info.json": json.dumps(information).encode(),
        f"/full/{'full' if version == 2 else 'max'}/0/default.jpg": whole,
    }
    for wide, high in sizes.items():
        size = f"{wide}," if version == 2 else f"{wide},{high}"
        files[f"/full/{size}/0/default.jpg"] = jpeg(large.resize((wide, high), Image.Resampling.BOX))
    return files
