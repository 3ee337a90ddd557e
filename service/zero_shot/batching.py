"""Dynamic batching: requests that wait at the same time share one pass through the model; and whether it responds.

The one place that limits how many passes run at a time: `Backend.max_concurrent_batches`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from service.zero_shot.backends.base import Backend
from service.zero_shot.preprocessing.preparation import ImageInputs

log = structlog.get_logger()

POLL_SECONDS = 0.5
"""How often a waiting caller checks whether it was cancelled: if a pass hangs, nothing else would."""

CancelCheck = Callable[[], None]
"""Raises if the work is no longer wanted (deadline passed, client gone). Must be quick: it runs under a lock."""

MIN_STALL_TIMEOUT = 30.0
MAX_STALL_TIMEOUT = 300.0
_STALL_FACTOR = 10
"""A pass has stalled after ten times the longest one so far, within these bounds in seconds."""


def never_cancelled() -> None:
    """Never raise: the default CancelCheck."""


class InferenceMonitor:
    """Tracks when running passes began and when one last succeeded; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[object, float] = {}
        self._failing_since: float | None = None
        self._last_success = time.monotonic()
        self._longest = 0.0

    @contextmanager
    def track(self) -> Iterator[None]:
        """Track one pass: it succeeds if the block ends without an error."""
        began, key = time.monotonic(), object()
        with self._lock:
            self._running[key] = began
        try:
            yield
        except MemoryError:
            raise  # the batch was too large; the model itself still works
        except Exception:
            with self._lock:
                self._failing_since = self._failing_since or began
            raise
        else:
            with self._lock:
                self._failing_since = None
                self._last_success = time.monotonic()
                self._longest = max(self._longest, self._last_success - began)
        finally:
            with self._lock:
                del self._running[key]

    @property
    def stall_timeout(self) -> float:
        """Seconds after which a pass counts as stalled."""
        return min(max(MIN_STALL_TIMEOUT, _STALL_FACTOR * self._longest), MAX_STALL_TIMEOUT)

    @property
    def seconds_since_success(self) -> float:
        """Seconds since a pass last succeeded, or since the start."""
        return time.monotonic() - self._last_success

    @property
    def seconds_unanswered(self) -> float:
        """Seconds since the oldest running pass began, or since passes began to fail; 0 if neither is the case."""
        with self._lock:
            begun = [*self._running.values(), *([self._failing_since] if self._failing_since else [])]
        return time.monotonic() - min(begun) if begun else 0.0

    @property
    def stalled(self) -> bool:
        """Whether the model has not responded for longer than the stall timeout."""
        return self.seconds_unanswered > self.stall_timeout


@dataclass(eq=False)
class _Job:
    """One caller's share of a batch: pictures, or tokens [n, tokens]; and its result.

    wake:   set when the caller has something to do: run the batch in `to_run`, its own job first, or take its features
    to_run: jobs that this caller is to run as one batch
    """

    pictures: Sequence[ImageInputs] = ()
    token_ids: NDArray[np.int64] | None = None
    check: CancelCheck = never_cancelled
    wake: threading.Event = field(default_factory=threading.Event)
    to_run: "list[_Job]" = field(default_factory=list)
    features: NDArray[np.float32] | None = None
    error: BaseException | None = None


class DynamicBatcher:
    """Runs a backend's passes for many threads.

    No request waits for others to arrive: those that came while all slots were busy share the next pass, first come,
    first served. Image and text batches alternate, so that neither starves the other. There is no worker thread: the
    first caller of a batch runs it, woken by the thread that ran the batch before. Cancelled jobs are left out when
    their batch is formed.

    monitor: tracks every pass
    """

    def __init__(self, backend: Backend) -> None:
        self.monitor = InferenceMonitor()
        self._backend = backend
        self._free_slots = backend.max_concurrent_batches
        self._lock = threading.Lock()
        self._pictures: deque[_Job] = deque()
        self._phrases: deque[_Job] = deque()
        self._phrases_are_next = False

    def image_features(
        self, prepared: Sequence[ImageInputs], check: CancelCheck = never_cancelled
    ) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n prepared pictures, n at least 1.

        Raises what `check` raises, before the pass and while waiting for it, from whichever thread calls it; and what
        the backend raises.
        """
        size = self._backend.image_batch
        shares = [prepared[start : start + size] for start in range(0, len(prepared), size)]
        return np.concatenate([self._result(_Job(share, check=check), self._pictures) for share in shares])

    def text_features(self, token_ids: NDArray[np.int64], check: CancelCheck = never_cancelled) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of one batch of phrases, [n, tokens]. Raises as image_features does."""
        return self._result(_Job(token_ids=token_ids, check=check), self._phrases)

    def _result(self, job: _Job, queue: deque[_Job]) -> NDArray[np.float32]:
        with self._lock:
            queue.append(job)
            if self._free_slots:
                self._free_slots -= 1
                self._start_next()
        try:
            while not job.wake.wait(POLL_SECONDS):
                job.check()
        except BaseException:
            self._withdraw(job, queue)
            raise
        if job.to_run:
            # Taken out of the job, which is one of them: the reference cycle would keep all their pictures alive.
            jobs, job.to_run = job.to_run, []
            try:
                self._run(jobs)
            finally:
                with self._lock:
                    self._start_next()
        if job.error:
            raise job.error
        assert job.features is not None  # noqa: S101  # a finished job has one or the other
        return job.features

    def _withdraw(self, job: _Job, queue: deque[_Job]) -> None:
        """Withdraw a job from its queue; hand over the batch that it was told to run meanwhile."""
        with self._lock:
            if job in queue:
                queue.remove(job)
            elif job.to_run:
                others, job.to_run = job.to_run[1:], []
                self._start(others) if others else self._start_next()

    def _start_next(self) -> None:
        """Pass this slot on to the next batch, or free it if nothing waits."""
        jobs = self._take()
        if jobs:
            self._start(jobs)
        else:
            self._free_slots += 1

    def _start(self, jobs: list[_Job]) -> None:
        jobs[0].to_run = jobs
        jobs[0].wake.set()

    def _take(self) -> list[_Job]:
        """Take the jobs of the next batch from their queue: some pictures, or one batch of phrases."""
        turns = [self._phrases, self._pictures] if self._phrases_are_next else [self._pictures, self._phrases]
        jobs = self._take_from(turns[0]) or self._take_from(turns[1])
        self._phrases_are_next = not jobs or jobs[0].token_ids is None
        return jobs

    def _take_from(self, queue: deque[_Job]) -> list[_Job]:
        jobs: list[_Job] = []
        room = self._backend.image_batch
        while queue and len(queue[0].pictures) <= room:
            job = queue.popleft()
            if _is_cancelled(job):
                continue
            jobs.append(job)
            if job.token_ids is not None:
                break
            room -= len(job.pictures)
        return jobs

    def _run(self, jobs: list[_Job]) -> None:
        """Run a batch; one that fails is retried once in parts, so that no job fails because of another."""
        try:
            error = self._pass(jobs)
            # Only out here, where the error is no longer being handled, is the memory of the pass free again.
            if error and len(jobs) > 1:
                for job in jobs:
                    self._run([job])
            elif isinstance(error, MemoryError) and len(jobs[0].pictures) > 1:
                self._run_one_by_one(jobs[0])
            else:
                jobs[0].error = error
        finally:
            for job in jobs:
                if job.features is None and job.error is None:
                    job.error = RuntimeError("The pass was interrupted.")
                job.wake.set()

    def _run_one_by_one(self, job: _Job) -> None:
        parts = [_Job([picture]) for picture in job.pictures]
        for part in parts:
            self._run([part])
            if part.error:
                job.error = part.error
                return
        job.features = np.concatenate([part.features for part in parts if part.features is not None])

    def _pass(self, jobs: list[_Job]) -> Exception | None:
        """Run one pass and store its features in the jobs; return the backend's error, if any."""
        try:
            with self.monitor.track():
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
            return error.with_traceback(None)  # its frames hold the large arrays
        except Exception as error:  # noqa: BLE001  # re-raised in the thread that the job came from
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


def _is_cancelled(job: _Job) -> bool:
    """Return whether a job is no longer wanted; its caller then gets the reason as its error."""
    try:
        job.check()
    except Exception as error:  # noqa: BLE001  # it concerns that caller alone
        job.error = error
        job.wake.set()
        return True
    return False
