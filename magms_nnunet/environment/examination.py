"""Runs all checks: first those that take no time, then those that import torch."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from threading import Timer
from time import monotonic

from magms_nnunet.environment.finding import FAIL, Finding
from magms_nnunet.environment.machine import (
    NEEDED_FOR,
    check_folder,
    check_hook,
    check_nnunet,
    check_python,
    check_shared_memory,
    check_temporary_folder,
    check_unetr,
)

LIMIT_S = 300.0  # of all checks that import torch, which take 10 s on an idle machine


def examine(debug: bool = False) -> Iterator[Finding]:
    """Yield each finding at once; ``debug`` shows the output of torch and nnU-Net."""
    yield check_python()
    yield check_nnunet()
    yield check_hook()
    yield check_unetr()
    yield from map(check_folder, NEEDED_FOR)
    yield check_temporary_folder()
    yield check_shared_memory()
    yield from check_with_torch(LIMIT_S, debug)


def check_with_torch(limit_s: float, debug: bool = False) -> Iterator[Finding]:
    """Yield the findings of :mod:`magms_nnunet.environment.with_torch`, and its failure.

    Args:
        limit_s: seconds after which its process is ended.
        debug: whether to show the output of torch and nnU-Net.
    """
    with tempfile.TemporaryDirectory(prefix="magms_doctor_") as home, tempfile.TemporaryFile("w+") as errors:
        folders = dict.fromkeys(NEEDED_FOR, home)
        process = subprocess.Popen(
            [sys.executable, "-m", "magms_nnunet.environment.with_torch", home],
            stdout=subprocess.PIPE,
            stderr=None if debug else errors,
            text=True,
            env=os.environ | folders | {"PYTHONSAFEPATH": "1"},
            cwd=home,  # for Python 3.10: it looks for modules where -m is started
        )
        timer, start = Timer(limit_s, process.kill), monotonic()
        timer.start()
        last = "its start"
        try:
            for line in process.stdout or ():
                finding = _finding(line)
                if finding is None:
                    continue
                last = finding.subject
                yield finding
            process.wait()
            if process.returncode:
                errors.seek(0)
                last_line = (errors.read().strip().splitlines() or ["without output"])[-1]
                ended = "took too long" if monotonic() - start >= limit_s else _how_it_ended(process.returncode)
                message = f"the checks that use torch {ended} after {last} ({last_line})"
                yield Finding(FAIL, "torch", message, "install torch again, the build for your CPU and GPU")
        finally:
            timer.cancel()
            process.kill()
            process.wait()


def _finding(line: str) -> Finding | None:
    """Read a finding from a line of output; None: a library has printed the line."""
    try:
        return Finding(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _how_it_ended(code: int) -> str:
    return f"were ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
