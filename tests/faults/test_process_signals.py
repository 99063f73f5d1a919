"""SIGINT and SIGTERM end a command amid work of minutes, and nothing half-written stays."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.faults.commands import start, wait_for, worker_processes
from tests.faults.tiny import SIDE_FILES, T1C, give
from tests.integration.workspace import ENDING, write_image

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

LIMIT_SECONDS = 60  # for a busy machine: what is interrupted would take much longer
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
HANDLED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
"""
IN_A_LIBRARY = """
import sys, time
from magms_nnunet.cli import exits

def long_step():
    print("running", flush=True)
    import hashlib
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes, in which Python handles no signal

sys.exit(exits.run("magms_predict", long_step, debug=False))
"""


WAITING = """
import sys, time
from pathlib import Path
from magms_nnunet.cli import exits
from magms_nnunet.storage.output_lock import locked_output

def wait():
    with locked_output(Path(sys.argv[1])):
        print("running", flush=True)
        time.sleep(120)

sys.exit(exits.run("magms_predict", wait, debug=False))
"""


def visible(folder) -> set[str]:
    """Files under a final name: what is hidden goes with the next run."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in files if not any(part.startswith(".") for part in path.parts)}


def stop(command, number) -> None:
    os.kill(command.pid, number)
    command.wait(LIMIT_SECONDS)


@pytest.mark.fault(18)
@pytest.mark.parametrize(("processes", "number"), [(0, signal.SIGTERM), (1, signal.SIGINT)])
def test_prediction_stops(processes, number, model, tmp_path):
    """While the network runs on a large case, the workers are busy, and one case is done."""
    images, out = give(tmp_path / "images", {"a": [T1C]}), tmp_path / "out"
    large = np.random.default_rng(0).normal(100, 20, (128, 128, 128)).astype(np.float32)
    for case in "bc":
        write_image(images / f"{case}_0002{ENDING}", large)
    flags = ("-m", model, "-f", 0, "-device", "cpu", "-npp", processes, "-nps", processes, "-step_size", 0.2)
    with start("magms_predict", "-i", images, "-o", out, *flags) as command:
        wait_for((out / f"a{ENDING}").exists)
        workers = worker_processes(command.pid)
        stop(command, number)
        command.stderr.read()
    assert command.returncode == CODES[number]
    assert visible(out) == SIDE_FILES | {f"a{ENDING}", "a.json"}
    assert len(workers) == 2 * processes
    assert not any(os.path.exists(f"/proc/{worker}") for worker in workers)


@pytest.mark.fault(18)
def test_evaluation_stops(model, tmp_path):
    images = give(tmp_path / "images", {"a": range(4)})
    large = np.random.default_rng(0).normal(100, 20, (96, 96, 96)).astype(np.float32)
    for channel in range(4):
        write_image(images / f"b_{channel:04d}{ENDING}", large + channel)
    write_image(tmp_path / "labels" / f"a{ENDING}", np.ones((18, 17, 16), np.uint8))
    write_image(tmp_path / "labels" / f"b{ENDING}", np.ones(large.shape, np.uint8))
    out, flags = tmp_path / "out", ("-m", model, "-device", "cpu", "-npp", 0, "-nps", 0)
    with start("magms_evaluate", "-i", images, "-l", tmp_path / "labels", "-o", out, *flags) as command:
        wait_for((out / "cases/a.json").exists)
        stop(command, signal.SIGTERM)
    assert command.returncode == 143
    assert visible(out) == {"run.json", "a.json", "a.npz"}


@pytest.mark.fault(18)
@pytest.mark.parametrize("number", CODES)
def test_stops_within_a_long_step_of_a_library(number, tmp_path):
    (tmp_path / "long.py").write_text(HANDLED + IN_A_LIBRARY)
    with subprocess.Popen([sys.executable, tmp_path / "long.py"], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout.readline() == "running\n"
        time.sleep(0.5)  # then it is in the library
        stop(command, number)
    assert command.returncode == CODES[number]


@pytest.mark.fault(18)
def test_interrupted_command_tidies_up_and_says_so(tmp_path):
    """Between two steps of its own, where it has a lock."""
    (tmp_path / "waiting.py").write_text(HANDLED + WAITING)
    with subprocess.Popen(
        [sys.executable, tmp_path / "waiting.py", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout.readline() == "running\n"
        stop(command, signal.SIGTERM)
        assert command.stderr.read() == "magms_predict: interrupted\n"
    assert command.returncode == 143
    assert [path.name for path in tmp_path.iterdir()] == ["waiting.py"]


@pytest.mark.fault(18)
def test_signals_that_are_ignored_stay_ignored(tmp_path):
    """As under nohup, or in the background of a shell."""
    (tmp_path / "short.py").write_text(
        "import os, signal, sys\nfrom magms_nnunet.cli import exits\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "sys.exit(exits.run('magms_predict', lambda: os.kill(os.getpid(), signal.SIGINT) or 7, debug=False))\n"
    )
    assert os.waitstatus_to_exitcode(os.system(f"{sys.executable} {tmp_path / 'short.py'}")) == 7
