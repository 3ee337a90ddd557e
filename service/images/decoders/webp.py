"""WebP: libwebp decodes it; an animation's canvas is transparent, whatever its file says."""

import re

from service.images.picture import Format, Picture

_KIND, _EXTENDED, _FLAGS = slice(8, 16), b"WEBPVP8X", 20
_ANIMATED, _TRANSPARENT = 0x02, 0x10


class WebpPicture(Picture):
    """A WebP."""

    format = "WEBP"
    hides_memory_errors = True

    def __init__(self, file: bytes) -> None:
        super().__init__(_with_bare_canvas(file))

    def decoder_pixel_bytes(self) -> int:
        """Return 12: libwebp has two canvases of its own and gives Pillow a third."""
        return 12


def _with_bare_canvas(file: bytes) -> bytes:
    """Return a WebP that says that it is transparent where it is an animation.

    The canvas is, wherever no picture is, but libwebp shows it black in files that do not say so.
    Source: WebP Container Specification, Animation.
    """
    if file[_KIND] != _EXTENDED or len(file) <= _FLAGS or not file[_FLAGS] & _ANIMATED:
        return file
    return file[:_FLAGS] + bytes([file[_FLAGS] | _TRANSPARENT]) + file[_FLAGS + 1 :]


WEBP = Format(
    re.compile(rb"RIFF....WEBP", re.DOTALL),
    (".webp",),
    WebpPicture,
    sets_aside=2 * 4 * 16_384**2,  # libwebp's two canvases
)
