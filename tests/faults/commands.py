"""Commands in processes of their own, to be stopped, and what they are doing."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.integration.workspace import BIN


def start(command: str, *arguments, memory_bytes: int | None = None) -> subprocess.Popen:
    """A console script; what it says on stderr is piped. ``memory_bytes``: of addresses that it may use."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which is ignored where the tests run in the background
        if memory_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))

    return subprocess.Popen(
        [str(BIN / command), *map(str, arguments)],
        env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
        start_new_session=True,
    )


def wait_for(condition: Callable, seconds: float = 120):
    """What ``condition`` returns as soon as that is true."""
    for _ in range(int(seconds / 0.01)):
        if result := condition():
            return result
        time.sleep(0.01)
    raise TimeoutError(f"{condition} did not come true within {seconds} s")


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for of_thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, of_thread.read_text().split())
    return found


def worker_processes(pid: int) -> list[int]:
    """The processes that a command has started to preprocess or export."""
    found = []
    for child in children(pid):
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found
