"""TIFF: the container is read here, within bounds; imagecodecs undoes the compressions.

Measured on 1,225 files of every kind that tifffile writes (tests/support/tiff_corpus.py): Pillow 13.0 refuses most of
what it does not decode rightly, and shows 72 of them wrongly without a word; libvips 8.18, taken plainly, two in five.
tifffile 2026.3.3 knows nearly all, but shows zeros where segments are left out, and decodes a JPEG of 81 megapixels for
a strip of 81 pixels. A directory of tags is simple; what is hard is in the codecs, and imagecodecs' take the size that
may come out.

    directory  header, directories, tags
    page       what one directory says of its picture, or why that kind is not read
    codecs     bytes of a strip or a tile -> its rows
    segments   strips, tiles and planes -> bands of samples, one after the other
    samples    samples of any depth and kind -> 8 bits, as a person sees them
    picture    which of the file's pictures is meant, and its pixels

Importing `picture` loads every codec that is used, so that a process without files can decode.
"""

import re
from functools import partial
from importlib import import_module

from service.images.picture import Format, Picture


def _opened(file: bytes) -> Picture:
    # Its codecs are for the processes that can be killed, not for those that only know decode().
    from service.images.decoders.tiff.picture import TiffPicture  # noqa: PLC0415

    return TiffPicture(file)


TIFF = Format(
    re.compile(rb"(II|MM)(\0[*+]|[*+]\0)"),
    (".tif", ".tiff", ".ptif", ".ptiff", ".btf", ".tf8"),
    _opened,
    preload=partial(import_module, "service.images.decoders.tiff.picture"),
)
