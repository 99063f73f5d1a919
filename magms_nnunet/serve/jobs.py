"""All jobs of a server: a bounded queue, the running job, and the results that are kept for their clients."""

import tempfile
import threading
import time
from collections import Counter, deque
from pathlib import Path

from magms_nnunet.serve.job import CANCELLED, DONE, ENDED, FAILED, RUNNING, WAITING, Answer, Job
from magms_nnunet.serve.problems import Problem
from magms_nnunet.serve.settings import Limits

_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)  # buckets of the histogram
_RECENT_S = 60


class Jobs:
    """The jobs of a server, for several threads. An upload takes its slot first, so uploads are bounded, too.

    Attributes:
        limits: of the server.
        ended: state -> number of jobs that ended in it.
        buckets: seconds -> number of successful jobs of at most this duration.
        seconds: total duration of all successful jobs.
        stopping: whether the server is stopping.
    """

    def __init__(self, root: Path, limits: Limits):
        self.limits, self._root = limits, root
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._uploading = 0
        self._changed = threading.Condition()
        self.ended: Counter[str] = Counter()
        self.buckets: Counter[float] = Counter(dict.fromkeys(_SECONDS, 0))
        self.seconds = 0.0
        self.stopping = False

    def begin(self) -> Job:
        """Take a slot for a job before its upload; call :meth:`submit` or :meth:`abandon` after it.

        Raises:
            Problem: the queue is full, or the server is stopping.
        """
        with self._changed:
            if self.stopping:
                raise Problem(503, "the server is stopping: send the job to another one", {"Retry-After": "30"})
            if len(self._queue) + self._uploading >= self.limits.waiting:
                waiting = f"{self.limits.waiting} jobs are waiting already: send it again later"
                raise Problem(429, waiting, {"Retry-After": "10"})
            self._uploading += 1
        return Job(Path(tempfile.mkdtemp(dir=self._root)))

    def submit(self, job: Job) -> None:
        """Add a job to the queue.

        Raises:
            Problem: the server is stopping.
        """
        with self._changed:
            self._uploading -= 1
            if not self.stopping:
                self._jobs[job.id] = job
                self._queue.append(job)
                self._changed.notify_all()
                return
        job.remove_files()
        raise Problem(503, "the server is stopping: send the job to another one", {"Retry-After": "30"})

    def abandon(self, job: Job) -> None:
        """Remove a job whose upload has failed."""
        with self._changed:
            self._uploading -= 1
        job.remove_files()

    def next(self, timeout_s: float) -> Job | None:
        """Return the next job to run; None: no job arrived within this time."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue, timeout_s)
            if not self._queue:
                return None
            job = self._queue.popleft()
            job.state = RUNNING
            return job

    def end(self, job: Job, state: str, detail: str = "", status: int = 422, answer: Answer | None = None) -> None:
        """Record that a job has ended; of a cancelled job nothing is kept.

        Args:
            job: that ended.
            state: done or failed.
            detail: message of a failure.
            status: HTTP status of a failure.
            answer: of the worker, where the job is done.
        """
        job.remove_files()
        with self._changed:
            job.ended, job.seconds = time.monotonic(), time.monotonic() - job.made
            if job.state != CANCELLED:
                job.state, job.detail, job.status, job.answer = state, detail, status, answer
            self.ended[job.state] += 1
            if job.state == DONE:
                self.seconds += job.seconds
                self.buckets.update(limit for limit in _SECONDS if job.seconds <= limit)
            self._changed.notify_all()
        self.forget_old()

    def get(self, identifier: str) -> Job:
        """Return a job.

        Raises:
            Problem: there is no such job.
        """
        job = self._jobs.get(identifier)
        if job is None:
            raise Problem(404, "no such job: it was deleted, has expired, or this server never had it")
        return job

    def position(self, job: Job) -> int | None:
        """Return the number of jobs before this one; None: it is not waiting."""
        with self._changed:
            return self._queue.index(job) if job in self._queue else None

    def remove(self, identifier: str) -> None:
        """Cancel a job that has not ended, and remove it.

        Raises:
            Problem: there is no such job.
        """
        with self._changed:
            job = self.get(identifier)
            del self._jobs[identifier]
            if job.state == RUNNING:
                job.cancel()  # its worker removes its files
                return
            if job.state == WAITING:
                self._queue.remove(job)
                job.state = CANCELLED
                self.ended[CANCELLED] += 1
        job.answer = None
        job.remove_files()

    def forget_old(self) -> None:
        """Remove results after their time, and the oldest ones where there are too many."""
        with self._changed:
            ended = [(job.ended or 0.0, job) for job in self._jobs.values() if job.state in ENDED]
            too_many = len(ended) - self.limits.kept
            for number, (end_s, job) in enumerate(sorted(ended, key=lambda pair: pair[0])):
                if number < too_many or time.monotonic() - end_s > self.limits.keep_s:
                    del self._jobs[job.id]

    def stop(self) -> None:
        """Take no more jobs, and fail the waiting ones, so that their clients learn it while the server answers."""
        with self._changed:
            self.stopping = True
            waiting = list(self._queue)
            self._queue.clear()
            for job in waiting:
                job.state, job.detail, job.status = FAILED, "the server is stopping: send the job again", 503
                job.ended = time.monotonic()
                self.ended[FAILED] += 1
        for job in waiting:
            job.remove_files()

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait for the running jobs; return whether they have ended."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.count(RUNNING), timeout_s)

    def has_unfetched(self) -> bool:
        """Return whether a recent result has not been fetched."""
        with self._changed:
            done = [job for job in self._jobs.values() if job.state == DONE and not job.fetched]
        return any(job.ended is not None and time.monotonic() - job.ended < _RECENT_S for job in done)

    def count(self, state: str) -> int:
        """Return the number of jobs in this state."""
        with self._changed:
            return sum(job.state == state for job in self._jobs.values())
