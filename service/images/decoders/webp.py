"""WebP: an animation whose first picture covers a part of its canvas, and which says nothing of transparency."""

_KIND, _EXTENDED, _FLAGS = slice(8, 16), b"WEBPVP8X", 20
_ANIMATED, _TRANSPARENT = 0x02, 0x10


def with_bare_canvas(encoded: bytes) -> bytes:
    """Return a WebP that says that it is transparent where it is an animation.

    The canvas is, wherever no picture is, but libwebp shows it black in files that do not say so.
    Source: WebP Container Specification, Animation.
    """
    if encoded[_KIND] != _EXTENDED or len(encoded) <= _FLAGS or not encoded[_FLAGS] & _ANIMATED:
        return encoded
    return encoded[:_FLAGS] + bytes([encoded[_FLAGS] | _TRANSPARENT]) + encoded[_FLAGS + 1 :]
