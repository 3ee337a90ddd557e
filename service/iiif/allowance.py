"""What reading IIIF documents may cost in all, however many URIs are read: one request, or one job, has one."""

import sys
from dataclasses import dataclass

from service.errors import ImageFetchFailed

MOST_BYTES = 16 * 1024 * 1024
"""Of one document, whatever is left."""

# Parsed, the smallest values take some twenty times their bytes.
MOST_VALUES = 1_000_000


@dataclass
class Allowance:
    """What is left: documents to fetch, bytes and JSON values in all of them together, and tiles of pictures."""

    documents: int
    bytes: int
    values: int
    tiles: int = sys.maxsize

    def take_document(self) -> None:
        """Take one document, to be fetched or found within another. Raises ImageFetchFailed where none is left."""
        if self.documents <= 0:
            raise ImageFetchFailed("This leads to more IIIF documents than are read for one request.")
        self.documents -= 1

    def take_tiles(self, count: int) -> None:
        """Take the tiles of a picture, to be fetched. Raises ImageFetchFailed where fewer are left."""
        if self.tiles < count:
            raise ImageFetchFailed("This leads to more tiles of images than are read for one request.")
        self.tiles -= count

    @property
    def most_bytes(self) -> int:
        """What the next document may have."""
        return max(1, min(self.bytes, MOST_BYTES))

    @property
    def most_values(self) -> int:
        """What the next document may have."""
        return min(self.values, MOST_VALUES)

    def take(self, size: int, values: int) -> None:
        """Take what a document has."""
        self.bytes -= size
        self.values -= values
