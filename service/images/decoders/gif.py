"""GIF: the first picture alone, whatever the file says of those that follow."""

import re

from PIL import GifImagePlugin, Image

from service.images.picture import PIXEL_BYTES, Format, Picture


class FirstPicture(GifImagePlugin.GifImageFile):
    """A GIF whose first frame's disposal method is ignored.

    Pillow allocates a picture for it while it opens the file, of as many pixels as are claimed.
    """

    @property
    def disposal_method(self) -> int:
        """Always 0: unspecified."""
        return 0

    @disposal_method.setter
    def disposal_method(self, _method: int) -> None:
        pass


Image.register_open("GIF", FirstPicture, lambda prefix: prefix.startswith((b"GIF87a", b"GIF89a")))


class GifPicture(Picture):
    """The first picture of a GIF; where it covers a part of the screen, the rest is transparent, as in browsers."""

    format = "GIF"

    def decoder_pixel_bytes(self) -> int:
        """Return what opacity takes where it has to be added."""
        return PIXEL_BYTES if self._leaves_screen_bare() else 0

    def complete(self) -> Image.Image:
        """Return the picture, transparent where the rest of the screen is."""
        if self._leaves_screen_bare():
            seen = Image.new("L", self.image.size, 0)
            seen.paste(255, self.image.dispose_extent)  # type: ignore[attr-defined]  # a GIF has it
            self.image.putalpha(seen)
        return self.image

    def _leaves_screen_bare(self) -> bool:
        image = self.image
        return (
            isinstance(image, GifImagePlugin.GifImageFile)
            and "transparency" not in image.info
            and image.dispose_extent != (0, 0, *image.size)
        )


GIF = Format(re.compile(rb"GIF8[79]a"), (".gif",), GifPicture)
