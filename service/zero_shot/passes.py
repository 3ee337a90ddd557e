"""Passes: requests that come together share a pass of the encoder."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.zero_shot.backend import Backend
from service.zero_shot.features import ImageInputs


@dataclass(eq=False)
class _Job:
    """One caller's share of a pass: pictures or tokens [n, tokens], and what came of them."""

    pictures: Sequence[ImageInputs] = ()
    token_ids: NDArray[np.int64] | None = None
    done: threading.Event = field(default_factory=threading.Event)
    features: NDArray[np.float32] | None = None
    error: BaseException | None = None


class Passes:
    """Runs a backend's passes for many threads.

    Nobody waits for company: what has come while the lanes were busy shares the next pass, first come, first served.
    Pictures and phrases take turns, so that neither a long list of phrases nor a rush of pictures holds up the other.
    No thread of its own is needed: whoever gets a lane runs the next pass, be it another's.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lanes = threading.BoundedSemaphore(backend.lanes)
        self._queues = threading.Lock()
        self._pictures: deque[_Job] = deque()
        self._phrases: deque[_Job] = deque()
        self._phrases_are_next = False

    def image_features(self, prepared: Sequence[ImageInputs]) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n prepared pictures. Raises what the backend does."""
        size = self._backend.image_batch
        shares = [_Job(pictures=prepared[start : start + size]) for start in range(0, len(prepared), size)]
        return np.concatenate([self._finished(share, self._pictures) for share in shares])

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of one batch of phrases, [n, tokens]. Raises what the backend does."""
        return self._finished(_Job(token_ids=token_ids), self._phrases)

    def _finished(self, job: _Job, queue: deque[_Job]) -> NDArray[np.float32]:
        with self._queues:
            queue.append(job)
        while not job.done.is_set():
            with self._lanes:
                jobs = [] if job.done.is_set() else self._take()
                if not jobs:
                    break  # it is done, or another lane is at it
                self._run(jobs)
        job.done.wait()
        if job.error:
            raise job.error
        assert job.features is not None  # noqa: S101  # a job that is done has one or the other
        return job.features

    def _take(self) -> list[_Job]:
        """Return the jobs of the next pass, taken from their queue: some pictures, or one batch of phrases."""
        with self._queues:
            if self._phrases and (self._phrases_are_next or not self._pictures):
                self._phrases_are_next = False
                return [self._phrases.popleft()]
            self._phrases_are_next = True
            jobs: list[_Job] = []
            room = self._backend.image_batch
            while self._pictures and len(self._pictures[0].pictures) <= room:
                jobs.append(self._pictures.popleft())
                room -= len(jobs[-1].pictures)
            return jobs

    def _run(self, jobs: list[_Job]) -> None:
        try:
            first = jobs[0]
            if first.token_ids is not None:
                first.features = self._backend.text_features(first.token_ids)
            else:
                pictures = [picture for job in jobs for picture in job.pictures]
                stacked = {name: np.stack([picture[name] for picture in pictures]) for name in pictures[0]}
                features = self._backend.image_features(stacked)
                start = 0
                for job in jobs:
                    job.features = features[start : start + len(job.pictures)]
                    start += len(job.pictures)
        except BaseException as error:
            for job in jobs:
                job.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            for job in jobs:
                job.done.set()
