"""What Pillow raises on a picture -> what is wrong with the picture."""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from service.errors import ImageDimensions, UndecodableImage

BROKEN = (
    *(OSError, EOFError, ValueError, SyntaxError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(RuntimeError, struct.error, zlib.error),
)
"""What Pillow's decoders raise on broken files."""

NEEDS_MEMORY = "The image needs more memory to be decoded than this service has for one."

_OUT_OF_MEMORY = re.compile(r"out of memory|memory allocation error|decoder error -9\b", re.IGNORECASE)
"""In what those say that do not raise MemoryError; -9 is Pillow's own number of it."""


@contextmanager
def problems_told() -> Iterator[None]:
    """Raise ImageDimensions or UndecodableImage of what Pillow raises in the block."""
    try:
        yield
    except Image.DecompressionBombError:
        raise ImageDimensions from None
    except MemoryError:
        raise ImageDimensions(NEEDS_MEMORY) from None
    except BROKEN as error:
        if _OUT_OF_MEMORY.search(str(error)):
            raise ImageDimensions(NEEDS_MEMORY) from None
        raise UndecodableImage from None
