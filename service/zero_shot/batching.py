"""Passes: requests that come together share a pass of the encoder."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from service.zero_shot.backends.base import Backend
from service.zero_shot.features import ImageInputs, Require, always
from service.zero_shot.inference_monitor import Pulse

log = structlog.get_logger()

LOOK_SECONDS = 0.5
"""How often one who waits looks whether its features are still wanted: if a pass hangs, nobody else would."""


@dataclass(eq=False)
class _Job:
    """One caller's share of a pass: pictures or tokens [n, tokens], and what came of them.

    require: raises if nobody wants the features any more
    woken: set once there is something for the caller to do: run the pass of these jobs, its own first, or take its
    features
    """

    pictures: Sequence[ImageInputs] = ()
    token_ids: NDArray[np.int64] | None = None
    require: Require = always
    woken: threading.Event = field(default_factory=threading.Event)
    to_run: "list[_Job]" = field(default_factory=list)
    features: NDArray[np.float32] | None = None
    error: BaseException | None = None


class Passes:
    """Runs a backend's passes for many threads.

    Nobody waits for company: what has come while the lanes were busy shares the next pass, first come, first served.
    Pictures and phrases take turns, so that neither a long list of phrases nor a rush of pictures holds up the other.
    No thread of its own is needed: a pass is run by the first of those whose pass it is, which the thread that ran the
    pass before it wakes. What is no longer wanted when its pass is put together is left out of it.

    pulse: how the passes fare
    """

    def __init__(self, backend: Backend) -> None:
        self.pulse = Pulse()
        self._backend = backend
        self._free_lanes = backend.lanes
        self._queues = threading.Lock()
        self._pictures: deque[_Job] = deque()
        self._phrases: deque[_Job] = deque()
        self._phrases_are_next = False

    def image_features(self, prepared: Sequence[ImageInputs], require: Require = always) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n prepared pictures, n at least 1.

        Raises what `require` does, before the pass that it is called for and while that is waited for, by whichever
        thread that is, and what the backend does.
        """
        size = self._backend.image_batch
        shares = [prepared[start : start + size] for start in range(0, len(prepared), size)]
        return np.concatenate([self._finished(_Job(share, require=require), self._pictures) for share in shares])

    def text_features(self, token_ids: NDArray[np.int64], require: Require = always) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of one batch of phrases, [n, tokens]. Raises as image_features does."""
        return self._finished(_Job(token_ids=token_ids, require=require), self._phrases)

    def _finished(self, job: _Job, queue: deque[_Job]) -> NDArray[np.float32]:
        with self._queues:
            queue.append(job)
            if self._free_lanes:
                self._free_lanes -= 1
                self._call_next()
        try:
            while not job.woken.wait(LOOK_SECONDS):
                job.require()
        except BaseException:
            self._leave(job, queue)
            raise
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

    def _leave(self, job: _Job, queue: deque[_Job]) -> None:
        """Give up a job's place in its queue, or the pass that it was to run meanwhile, to those that come next."""
        with self._queues:
            if job in queue:
                queue.remove(job)
            elif job.to_run:
                others, job.to_run = job.to_run[1:], []
                self._call(others) if others else self._call_next()

    def _call_next(self) -> None:
        """Give a lane to the first of the next pass, or keep it free where nobody waits."""
        jobs = self._take()
        if jobs:
            self._call(jobs)
        else:
            self._free_lanes += 1

    def _call(self, jobs: list[_Job]) -> None:
        jobs[0].to_run = jobs
        jobs[0].woken.set()

    def _take(self) -> list[_Job]:
        """Return the jobs of the next pass, taken from their queue: some pictures, or one batch of phrases."""
        turns = [self._phrases, self._pictures] if self._phrases_are_next else [self._pictures, self._phrases]
        jobs = self._taken_from(turns[0]) or self._taken_from(turns[1])
        self._phrases_are_next = not jobs or jobs[0].token_ids is None
        return jobs

    def _taken_from(self, queue: deque[_Job]) -> list[_Job]:
        jobs: list[_Job] = []
        room = self._backend.image_batch
        while queue and len(queue[0].pictures) <= room:
            job = queue.popleft()
            if not _is_wanted(job):
                continue
            jobs.append(job)
            if job.token_ids is not None:
                break
            room -= len(job.pictures)
        return jobs

    def _run(self, jobs: list[_Job]) -> None:
        """Compute the jobs' features; what fails as a whole is computed in parts, once.

        So nobody fails for another's picture, or for want of memory for all.
        """
        try:
            error = self._pass(jobs)
            # Only here, where the error is no longer being handled, is the memory free that the pass had taken.
            if error and len(jobs) > 1:
                for job in jobs:
                    self._run([job])
            elif isinstance(error, MemoryError) and len(jobs[0].pictures) > 1:
                self._run_singly(jobs[0])
            else:
                jobs[0].error = error
        finally:
            for job in jobs:
                if job.features is None and job.error is None:
                    job.error = RuntimeError("The pass was interrupted.")
                job.woken.set()

    def _run_singly(self, job: _Job) -> None:
        parts = [_Job([picture]) for picture in job.pictures]
        for part in parts:
            self._run([part])
            if part.error:
                job.error = part.error
                return
        job.features = np.concatenate([part.features for part in parts if part.features is not None])

    def _pass(self, jobs: list[_Job]) -> Exception | None:
        """Compute the jobs' features in one pass; return what the backend raised instead, if it did."""
        try:
            with self.pulse.beat():
                if jobs[0].token_ids is not None:
                    jobs[0].features = self._backend.text_features(jobs[0].token_ids)
                else:
                    self._pass_pictures(jobs)
        except MemoryError as error:
            tokens = jobs[0].token_ids
            counted = {
                "pictures": sum(len(job.pictures) for job in jobs),
                "phrases": 0 if tokens is None else len(tokens),
            }
            log.warning("too little memory for a pass", **counted, reason=str(error))
            return error.with_traceback(None)  # its frames hold what there was too little memory for
        except Exception as error:  # noqa: BLE001  # whatever the backend raises is raised where the job came from
            return error
        return None

    def _pass_pictures(self, jobs: list[_Job]) -> None:
        pictures = [picture for job in jobs for picture in job.pictures]
        stacked = {name: np.stack([picture[name] for picture in pictures]) for name in pictures[0]}
        features = self._backend.image_features(stacked)
        start = 0
        for job in jobs:
            job.features = features[start : start + len(job.pictures)]
            start += len(job.pictures)


def _is_wanted(job: _Job) -> bool:
    """Tell whether a job's features are still wanted; if not, its caller hears why."""
    try:
        job.require()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is that caller's alone
        job.error = error
        job.woken.set()
        return False
    return True
