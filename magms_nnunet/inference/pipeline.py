"""Bounds the number of cases between preprocessing, network and export, to bound the memory."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future

from magms_nnunet.inference.failures import Failures
from magms_nnunet.inference.job import Job
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.preprocessing.subset import preprocess_case


def preprocessed_ahead(
    executor: Executor, jobs: Sequence[Job], model: TrainedModel, depth: int, failures: Failures
) -> Iterator[tuple[Job, Future]]:
    """Preprocess at most ``depth`` cases ahead of the network.

    Args:
        executor: runs the preprocessing.
        jobs: in the order in which the network takes them.
        model: whose plans are applied.
        depth: number of cases.
        failures: notes the cases whose preprocessing fails.

    Yields:
        A job and the future of its voxels and properties, see
        :func:`magms_nnunet.preprocessing.subset.preprocess_case`.
    """
    waiting: deque[tuple[Job, Future]] = deque()
    todo = iter(jobs)
    while True:
        while len(waiting) < depth and (job := next(todo, None)) is not None:
            previous = None if job.previous_stage is None else str(job.previous_stage)
            of_model = (model.plans, model.configuration, model.dataset_json)
            arguments = (job.case, job.subset, *of_model, previous, job.checks)
            waiting.append((job, failures.watch(job.case.name, executor.submit(preprocess_case, *arguments))))
        if not waiting:
            return
        yield waiting.popleft()


class Pending:
    """A queue of calls that run beside the network; their results are taken in order.

    Args:
        limit: number of calls that may wait; beyond it, :meth:`add` waits for the oldest.
        finish: takes the result of a call, given what was passed to :meth:`add`.
    """

    def __init__(self, limit: int, finish: Callable[..., None]):
        self._limit = limit
        self._finish = finish
        self._calls: deque[tuple] = deque()

    def add(self, *call) -> None:
        """Add a call, such as its case and its future, and take the results beyond the limit."""
        self._calls.append(call)
        self._take_all_but(self._limit)

    def finish(self) -> None:
        """Take the results of all calls."""
        self._take_all_but(0)

    def _take_all_but(self, number: int) -> None:
        while len(self._calls) > number:
            self._finish(*self._calls.popleft())
