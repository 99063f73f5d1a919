"""What each of two processes runs: apart from the tests, whose imports take it seconds."""

import os
import signal
import time
from pathlib import Path

import torch.distributed as dist

from magms_nnunet.training.stopping import Signals


def steps_until_stopped(rank: int, path: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{path}/store", rank=rank, world_size=2)
    signals, done = Signals(together=True), 0
    stopped = None

    def tidy_up(name: str) -> None:
        nonlocal stopped
        stopped = name

    try:
        with signals.end(tidy_up, "too late"):
            for step in range(5):
                if rank == 1 and step == 2:
                    os.kill(os.getpid(), signal.SIGTERM)  # between two steps, and to this process alone
                with signals.deferred():
                    dist.barrier()
                    done += 1
    except SystemExit as end:
        with open(f"{path}/{rank}", "w") as file:
            file.write(f"{done} {stopped} {end.code}")
    end_together(rank, path)


def end_together(rank: int, path: str | Path) -> None:
    """End this process once the other one has finished, too, without the end of torch's threads, which may abort."""
    (Path(path) / f"finished_{rank}").touch()
    while not all((Path(path) / f"finished_{other}").exists() for other in range(2)):
        time.sleep(0.01)  # the caller ends this process if the other one fails
    os._exit(0)
