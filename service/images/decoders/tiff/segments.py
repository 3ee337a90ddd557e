"""Strips, tiles and planes -> bands of a picture's samples, one after the other, so that no whole array is needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from imagecodecs._imcd import bitorder_decode, delta_decode, floatpred_decode, packints_decode
from numpy.typing import NDArray

from service.errors import ImageDimensions, UndecodableImage
from service.images.decoders.tiff import codecs
from service.images.decoders.tiff.codecs import Samples
from service.images.decoders.tiff.page import CCITT, OF_IMAGES, Page, unread
from service.images.picture import NEEDS_MEMORY

_BAND_PIXELS = 250_000  # of a segment's samples at a time
_SPARE_PIXELS = 4_000_000  # by which tiles may go beyond the picture, besides as much again as the picture has
_SHARED_BYTES = 1_024  # of each segment that may be another's too: writers store an empty tile once


# Of all samples that are seen, as wide as they are in the file: to go over them takes seconds.
_MAX_SAMPLE_BYTES = 400_000_000
_KEPT_BYTES = 16_000_000  # of decoded segments that are in several places


@dataclass(frozen=True)
class Band:
    """A part of the picture: where it is, and its samples [rows, columns, colours and what alpha there is]."""

    left: int
    top: int
    samples: Samples


class Segments:
    """The segments of a page.

    Raises UndecodableImage where they can't be all there, or are more than the picture, ImageDimensions where that has
    too many bytes.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        width, height = page.segment
        self._across, self._down = -(-page.width // width), -(-page.height // height)
        self._seen = [*range(page.colours.samples), *([page.alpha[1]] if page.alpha else [])]
        # Other planes, of which there may be a thousand, need not be decoded.
        self._planes = self._seen if page.planar else [0]
        number = self._across * self._down
        if number * width * height > 2 * page.width * page.height + _SPARE_PIXELS:
            raise UndecodableImage
        self._shared: dict[tuple[int, int, int, int], Samples] = {}
        if page.width * page.height * len(self._seen) * page.dtype.itemsize > _MAX_SAMPLE_BYTES:
            raise ImageDimensions(NEEDS_MEMORY)
        self._offsets, self._counts = _table(page, number * (page.samples if page.planar else 1))
        self._has_shared = _distinct(self._offsets).size < self._offsets.size

    @property
    def bytes_at_a_time(self) -> int:
        """What is unpacked at most at one time, but for bands of it."""
        return codecs.bytes_at_a_time(self._page) * len(self._planes)

    def bands(self) -> Iterator[Band]:
        """Decode each segment once. Raises UndecodableImage, and what the codecs raise of broken data."""
        page = self._page
        width, height = page.segment
        for number in range(self._across * self._down):
            top, left = number // self._across * height, number % self._across * width
            rows, columns = min(height, page.height - top), min(width, page.width - left)
            planes = [self._rows(plane * self._across * self._down + number, rows, columns) for plane in self._planes]
            # Whole units of rows that share their chroma.
            step = max(1, _BAND_PIXELS // width // 4) * 4
            for start in range(0, rows, step):
                stop = min(start + step, rows)
                parts = [plane(start, stop)[:, :columns] for plane in planes]
                yield Band(left, top + start, self._of_seen(parts))

    def _of_seen(self, parts: list[Samples]) -> Samples:
        """Return the samples that are seen, of planes or of all samples."""
        if len(parts) > 1:
            return np.concatenate(parts, axis=2)
        last = len(self._seen)
        return parts[0][..., :last] if self._seen[-1] == last - 1 else parts[0][..., self._seen]

    def _rows(self, number: int, rows: int, columns: int) -> Callable[[int, int], Samples]:
        """Return what gives rows of a segment, from one to another, each once and in their order."""
        page = self._page
        start, count = int(self._offsets[number]), int(self._counts[number])
        if count == 0:
            raise unread("parts of it are left out")
        data = memoryview(page.directory.encoded)[start : start + count]
        if page.reversed_bits:
            data = memoryview(bitorder_decode(bytes(data)))
        if page.compression in OF_IMAGES or page.compression in CCITT:
            samples = self._image((start, count, rows, columns), data)
            return lambda first, last: samples[first:last]
        across, down = page.subsampling
        width = page.segment[0]
        if page.subsampling == (1, 1):
            row_bytes = -(-width * page.channels * page.bits // 8)
        else:
            row_bytes = -(-width // across) * (across * down + 2)
        needed = -(-rows // down) * row_bytes
        raw = codecs.Unpacked(page.compression, data, needed, -(-page.segment[1] // down) * row_bytes)
        if page.subsampling == (1, 1):
            return lambda first, last: _samples(page, raw.read((last - first) * row_bytes), last - first)
        # A band begins with a unit of rows.
        return lambda first, last: _ycbcr(page, raw.read(-(-(last - first) // down) * row_bytes), last - first)

    def _image(self, key: tuple[int, int, int, int], data: memoryview) -> Samples:
        """Return what an image codec makes of a segment; of one that is in several places, what it made before."""
        if key in self._shared:
            return self._shared[key]
        samples = codecs.image(self._page, data, *key[2:])
        if self._has_shared and (len(self._shared) + 1) * samples.nbytes <= _KEPT_BYTES:
            self._shared[key] = samples
        return samples


def _table(page: Page, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each of so many segments begins, and how many bytes it has."""
    directory = page.directory
    size = len(directory.encoded)
    offsets = directory.numbers(324 if 324 in directory else 273, size)
    counts = directory.numbers(325 if 325 in directory else 279, size)
    if offsets.size < number or offsets.dtype.kind not in "ui":
        raise UndecodableImage
    offsets = offsets[:number].astype(np.int64)
    if offsets.min() < 0 or offsets.max() >= size:
        raise UndecodableImage
    if not counts.size or (number == 1 and not counts[0] and offsets[0]):
        # Left out, or 0 in a file of one strip: each ends where the next one begins.
        starts = np.append(_distinct(offsets), size)
        counts = starts[np.searchsorted(starts, offsets, side="right")] - offsets
    if counts.size < number or counts.dtype.kind not in "ui":
        raise UndecodableImage
    counts = counts[:number].astype(np.int64)
    is_cut = bool(np.any(offsets + np.minimum(counts, size) > size))
    # Of other compressions, it is seen whether every row is there.
    if counts.min() < 0 or (is_cut and page.compression in (*OF_IMAGES, *CCITT)):
        raise UndecodableImage
    counts = np.minimum(counts, size - offsets)
    if int(counts.sum()) > 2 * size + _SHARED_BYTES * number:
        raise UndecodableImage
    return offsets, counts


def _distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each number once, in order. numpy's unique() imports a module, which a closed process can't do."""
    ordered: NDArray[np.int64] = np.sort(numbers)
    return np.compress(np.append(True, ordered[1:] != ordered[:-1]), ordered)


def _samples(page: Page, raw: memoryview, rows: int) -> Samples:
    """Return the samples of whole rows [rows, columns, channels], in the machine's byte order."""
    shape = rows, page.segment[0], page.channels
    if page.bits not in (8, 16, 32, 64):
        run = page.segment[0] * page.channels
        return np.asarray(packints_decode(bytes(raw), page.dtype, page.bits, runlen=run)).reshape(shape)
    if page.predictor == 3:
        planes: Samples = np.frombuffer(bytes(raw), page.dtype).reshape(shape)
        return np.asarray(floatpred_decode(planes, axis=-2))
    samples: Samples = np.frombuffer(raw, page.dtype.newbyteorder(page.directory.layout.order)).reshape(shape)
    if page.predictor == 2:
        differences = samples.astype(page.dtype).view(f"u{page.dtype.itemsize}")
        return np.asarray(delta_decode(differences, axis=-2, out=differences)).view(page.dtype)
    return samples


def _ycbcr(page: Page, raw: memoryview, rows: int) -> Samples:
    """Return rows of YCbCr [rows, columns, 3] whose chroma samples are shared by several pixels each."""
    across, down = page.subsampling
    columns = -(-page.segment[0] // across)
    units = np.frombuffer(raw, np.uint8).reshape(-1, columns, across * down + 2)
    luma = units[..., :-2].reshape(-1, columns, down, across).transpose(0, 2, 1, 3).reshape(len(units) * down, -1)
    chroma = units[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.dstack([luma, chroma])[:rows, : page.segment[0]]
