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
    """One caller's share of a pass: pictures or tokens [n, tokens], and what came of them.

    woken: set once there is something for the caller to do: run the pass of these jobs, its own first, or take its
    features
    """

    pictures: Sequence[ImageInputs] = ()
    token_ids: NDArray[np.int64] | None = None
    woken: threading.Event = field(default_factory=threading.Event)
    to_run: "list[_Job]" = field(default_factory=list)
    features: NDArray[np.float32] | None = None
    error: BaseException | None = None


class Passes:
    """Runs a backend's passes for many threads.

    Nobody waits for company: what has come while the lanes were busy shares the next pass, first come, first served.
    Pictures and phrases take turns, so that neither a long list of phrases nor a rush of pictures holds up the other.
    No thread of its own is needed: a pass is run by the first of those whose pass it is, which the thread that ran the
    pass before it wakes.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._free_lanes = backend.lanes
        self._queues = threading.Lock()
        self._pictures: deque[_Job] = deque()
        self._phrases: deque[_Job] = deque()
        self._phrases_are_next = False

    def image_features(self, prepared: Sequence[ImageInputs]) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n prepared pictures, n at least 1. Raises what the backend does."""
        size = self._backend.image_batch
        shares = [_Job(pictures=prepared[start : start + size]) for start in range(0, len(prepared), size)]
        return np.concatenate([self._finished(share, self._pictures) for share in shares])

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of one batch of phrases, [n, tokens]. Raises what the backend does."""
        return self._finished(_Job(token_ids=token_ids), self._phrases)

    def _finished(self, job: _Job, queue: deque[_Job]) -> NDArray[np.float32]:
        with self._queues:
            queue.append(job)
            if self._free_lanes:
                self._free_lanes -= 1
                self._call_next()
        job.woken.wait()
        if job.to_run:
            # Not kept in the job, which is one of them: a ring would keep all their pictures until it is found.
            jobs, job.to_run = job.to_run, []
            try:
                self._run(jobs)
            finally:
                with self._queues:
                    self._call_next()
        if job.error:
            raise job.error
        assert job.features is not None  # noqa: S101  # a job that is done has one or the other
        return job.features

    def _call_next(self) -> None:
        """Give a lane to the first of the next pass, or keep it free where nobody waits."""
        jobs = self._take()
        if jobs:
            jobs[0].to_run = jobs
            jobs[0].woken.set()
        else:
            self._free_lanes += 1

    def _take(self) -> list[_Job]:
        """Return the jobs of the next pass, taken from their queue: some pictures, or one batch of phrases."""
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
            if jobs[0].token_ids is not None:
                jobs[0].features = self._backend.text_features(jobs[0].token_ids)
            else:
                self._run_pictures(jobs)
        except Exception as error:  # noqa: BLE001  # whatever the backend raises is raised where the job came from
            if len(jobs) == 1:
                jobs[0].error = error
            else:
                for job in jobs:  # each by itself: nobody fails for another's picture, or for want of memory for all
                    self._run([job])
        finally:
            for job in jobs:
                if job.features is None and job.error is None:
                    job.error = RuntimeError("The pass was interrupted.")
                job.woken.set()

    def _run_pictures(self, jobs: list[_Job]) -> None:
        pictures = [picture for job in jobs for picture in job.pictures]
        stacked = {name: np.stack([picture[name] for picture in pictures]) for name in pictures[0]}
        features = self._backend.image_features(stacked)
        start = 0
        for job in jobs:
            job.features = features[start : start + len(job.pictures)]
            start += len(job.pictures)
