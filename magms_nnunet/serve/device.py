"""A device: a thread that takes jobs from the queue, and the process that runs them."""

import os
import sys
import threading
import time
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

from magms_nnunet.errors import one_line
from magms_nnunet.inference.processes import ProcessDiedError, Processes
from magms_nnunet.runtime.streams import BrokenPipeSafeStream
from magms_nnunet.serve.job import CANCELLED, DONE, FAILED, Job, Task
from magms_nnunet.serve.jobs import Jobs
from magms_nnunet.serve.settings import Models

_POLL_S = 0.1


class Device:
    """Runs one job at a time. Where its process dies, that job fails, and the next one gets a new process.

    Args:
        number: of the GPU; on a CPU 0.
        jobs: the queue.
        models: to load.

    Attributes:
        ready: whether the models are loaded.
        restarts: number of restarts of the process.
    """

    def __init__(self, number: int, jobs: Jobs, models: Models):
        self.number, self.ready, self.restarts = number, False, 0
        self._jobs, self._models = jobs, models
        self._process = Processes(1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"device {number}", daemon=True)
        self._folders: dict[str, str] = {}

    def load(self) -> tuple[list[dict], int]:
        """Load the models; see :func:`magms_nnunet.serve.worker.load`.

        Raises:
            InputError: a model or the device cannot be used.
            ProcessDiedError: the process died.
        """
        loaded = self._process.submit(_load, self._models, self.number).result()
        self.ready = True
        return loaded

    def start(self, folders: dict[str, str]) -> None:
        """Take jobs; ``folders``: identifier -> folder of each model."""
        self._folders = folders
        self._thread.start()

    def stop(self) -> None:
        """End the process at once."""
        self._ended.set()
        self.ready = False
        self._process.kill()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._jobs.forget_old()
            if (job := self._jobs.next(timeout_s=1)) is not None:
                self._predict(job)

    def _predict(self, job: Job) -> None:
        begun = time.monotonic()
        task = Task(job.folder, job.case, job.study, job.preview, self._jobs.limits.voxels)
        future = self._process.submit(_run, self._models, Path(self._folders[job.model]), task, self.number)
        try:
            answer = self._wait(job, future, begun)
        except CancelledError:
            self._jobs.end(job, CANCELLED)
        except TimeoutError:
            text = f"it ran for more than {self._jobs.limits.job_s:g} s and was ended: send a smaller image"
            self._jobs.end(job, FAILED, text, 504)
            self._restart()
        except ProcessDiedError as error:
            how = str(error).partition(":")[0]
            self._jobs.end(job, FAILED, f"{job.case}: {how}: send it again, or a smaller image", 500)
            self._restart()
        except Exception as error:  # the device must continue with the next job
            if type(error).__name__ == "UnusableError":  # its module imports torch
                self._jobs.end(job, FAILED, f"{job.case}: {error}")
            else:
                say(f"job {job.id[:6]}: unexpected {type(error).__name__}: {error}")
                self._jobs.end(job, FAILED, f"{job.case}: an internal fault, which the server's log describes", 500)
        else:
            self._jobs.end(job, DONE, answer=answer)
        say(f"job {job.id[:6]}: {job.state} after {time.monotonic() - begun:.1f} s")

    def _wait(self, job: Job, future: Future, begun: float):
        """Wait for the answer of the worker.

        Raises:
            CancelledError: the client cancelled the job.
            TimeoutError: the job ran too long.
            Exception: any error of the worker.
        """
        cancelled_at, limits = None, self._jobs.limits
        while True:
            try:
                return future.result(_POLL_S)
            except FutureTimeoutError:
                if future.done():
                    raise
            if job.cancelling:
                cancelled_at = cancelled_at or time.monotonic()
                if time.monotonic() - cancelled_at > limits.cancel_s:
                    self._restart()
                    raise CancelledError
            if time.monotonic() - begun > limits.job_s:
                raise TimeoutError

    def _restart(self) -> None:
        """Start a new process, which loads the models before the next job."""
        self.ready = False
        self._process.kill()
        if self._ended.is_set():
            return
        self.restarts += 1
        self._process = Processes(1)
        try:
            self.load()
        except Exception as error:  # the next job reports it, too
            say(f"device {self.number}: the models cannot be loaded again: {error}")


def say(line: str) -> None:
    """Print a line of the log, which must not name patients."""
    print(f"magms_serve: {one_line(line)}", file=BrokenPipeSafeStream(sys.stderr), flush=True)


def _load(models: Models, number: int):
    _choose_gpu(number)
    from magms_nnunet.serve.worker import load

    return load(models)


def _run(models: Models, folder: Path, task: Task, number: int):
    _choose_gpu(number)
    from magms_nnunet.serve.worker import run

    return run(models, folder, task)


def _choose_gpu(number: int) -> None:
    """Restrict the worker to one GPU of the server; to be called before torch is imported.

    The first worker keeps all GPUs visible, to count them, and uses the first.
    """
    if number and "torch" not in sys.modules:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        gpus = [gpu for gpu in visible.split(",") if gpu] or [str(k) for k in range(number + 1)]
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number]
