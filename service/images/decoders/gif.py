"""GIF: the first picture alone, whatever the file says of those that follow."""

from PIL import GifImagePlugin, Image


class FirstPicture(GifImagePlugin.GifImageFile):
    """A GIF that does not heed what becomes of its first picture when the next one comes.

    Pillow makes a picture of that as it opens the file, of as many pixels as are claimed.
    """

    @property
    def disposal_method(self) -> int:
        """Always 0: nothing is said of it."""
        return 0

    @disposal_method.setter
    def disposal_method(self, _method: int) -> None:
        pass


def register() -> None:
    """Let Pillow open GIFs so."""
    Image.register_open("GIF", FirstPicture, lambda prefix: prefix.startswith((b"GIF87a", b"GIF89a")))
