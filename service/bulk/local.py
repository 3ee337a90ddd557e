"""LocalEngine: all cores of this machine, or its GPU, from one process.

Fetching waits for hosts and has many threads; decoding takes cores; encoding takes all cores of a CPU for each pass of
eight, or the GPU. Only so many items are in flight at a time, so that memory does not grow with the collection.
"""

import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from service.bulk.items import Answer, Failure, Item, NumberedItem, NumberedOutcome
from service.bulk.rankings import RankingPacker
from service.bulk.reading import ItemReader
from service.images.decode import PreparedImage
from service.images.loader import EncodedImage
from service.limits.threads import lower_thread_priority
from service.zero_shot.classifier import ZeroShotClassifier

FETCHES = 16
"""Pictures fetched at a time; more would burden the one host that most collections are on."""

_PASSES_AHEAD = 4
_FETCHED_BYTES = 256 * 1024 * 1024
"""While more fetched bytes wait to be decoded, no further fetch begins."""


def pass_size(device: str) -> int:
    """Return how many pictures one pass of the model takes on this device."""
    return 8 if device == "cpu" else 64


@dataclass(frozen=True)
class _Encoded:
    number: int
    encoded: EncodedImage


@dataclass(frozen=True)
class _Prepared:
    number: int
    image: PreparedImage


_Outcomes = list[NumberedOutcome]
_Step = _Encoded | _Prepared | _Outcomes
"""The result of a stage."""


class LocalEngine:
    """Processes pictures in threads of this process."""

    def __init__(self, reader: ItemReader, classifier: ZeroShotClassifier, ranking: RankingPacker, cores: int) -> None:
        self._reader = reader
        self._classifier = classifier
        self._ranking = ranking
        self._cores = cores
        self._on_cpu = classifier.model.device == "cpu"
        self._size = pass_size(classifier.model.device)

    def outcomes(self, items: Iterable[NumberedItem]) -> Iterator[NumberedOutcome]:
        """Yield the outcome of each item, once, in any order."""
        with ExitStack() as stages:
            fetching = _Stage(FETCHES, stages)
            # One thread more than cores, since one may wait for a disk, or for a decoder that hangs.
            decoding = _Stage(self._cores + 1, stages, lower_thread_priority if self._on_cpu else None)
            encoding = _Stage(1 if self._on_cpu else 2, stages)
            yield from self._through(iter(items), fetching, decoding, encoding)

    def _through(
        self, items: Iterator[NumberedItem], fetching: "_Stage", decoding: "_Stage", encoding: "_Stage"
    ) -> Iterator[NumberedOutcome]:
        done: queue.SimpleQueue[_Step | BaseException] = queue.SimpleQueue()
        under_way, most = 0, _PASSES_AHEAD * self._size + FETCHES
        prepared: list[_Prepared] = []
        waiting: dict[int, int] = {}  # bytes that were fetched, by the item's number
        while True:
            room = under_way < most and sum(waiting.values()) < _FETCHED_BYTES
            while room and (numbered := next(items, None)) is not None:
                under_way += 1
                room = under_way < most
                if numbered[1].kind == "file":
                    decoding.begin(done, self._read_and_prepare, *numbered)
                else:
                    fetching.begin(done, self._read, *numbered)
            if not under_way:
                return
            if len(prepared) in (self._size, under_way):  # the last pass has no more to wait for
                encoding.begin(done, self._encode, prepared)
                prepared = []
            step = done.get()
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, _Encoded):
                waiting[step.number] = len(step.encoded)
                decoding.begin(done, self._prepare, step)
            elif isinstance(step, _Prepared):
                waiting.pop(step.number, None)
                prepared.append(step)
            else:
                under_way -= len(step)
                for number, _ in step:
                    waiting.pop(number, None)
                yield from step

    def _read_and_prepare(self, number: int, item: Item) -> _Step:
        read = self._read(number, item)
        return self._prepare(read) if isinstance(read, _Encoded) else read

    def _read(self, number: int, item: Item) -> "_Encoded | _Outcomes":
        read = self._reader.read(item)
        return [(number, read)] if isinstance(read, Failure) else _Encoded(number, read)

    def _prepare(self, read: _Encoded) -> "_Prepared | _Outcomes":
        prepared = self._reader.prepare(read.encoded, self._classifier.preprocess)
        return [(read.number, prepared)] if isinstance(prepared, Failure) else _Prepared(read.number, prepared)

    def _encode(self, prepared: list[_Prepared]) -> _Outcomes:
        inputs = [each.image.inputs for each in prepared]
        # Every pass has the same shape: features may depend on it a little, and a resumed job forms other batches.
        filled = [*inputs, *inputs[-1:] * (self._size - len(inputs))]
        features = self._classifier.encode_images(filled)[: len(inputs)]
        rankings = [self._ranking.pack(each) for each in features]
        return [(each.number, _answer(each.image, packed)) for each, packed in zip(prepared, rankings, strict=True)]


def _answer(image: PreparedImage, rankings: bytes) -> Answer:
    of_picture = image.sha256, image.format, image.width, image.height
    return Answer(*of_picture, rankings, image.decoded_at, image.warnings)


class _Stage:
    """A thread pool for one kind of work; what has not begun when the engine ends is dropped."""

    def __init__(self, threads: int, stages: ExitStack, initializer: Callable[[], None] | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, initializer=initializer)
        stages.callback(self._pool.shutdown, wait=False, cancel_futures=True)

    def begin(
        self, done: "queue.SimpleQueue[_Step | BaseException]", work: Callable[..., _Step], *arguments: object
    ) -> None:
        """Run the work in a thread, and put what it returns or raises into `done`."""

        def finish() -> None:
            try:
                done.put(work(*arguments))
            except BaseException as error:  # noqa: BLE001  # raised where outcomes are waited for
                done.put(error)

        self._pool.submit(finish)
