"""Processes that preprocess or export are killed."""

import os
import signal
import sys

import numpy as np
import pytest

from tests.faults.commands import start, wait_for, worker_processes
from tests.faults.tiny import SHAPE, SIDE_FILES, T1C, give
from tests.integration.workspace import ENDING, files_in, write_image

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

CASES = [f"case{number}" for number in range(4)]


def kill_first_worker(command):
    """Kill a worker as it starts, which it does for the first case; what the command says of it."""
    (worker,) = wait_for(lambda: worker_processes(command.pid))
    os.kill(worker, signal.SIGKILL)
    said = command.stderr.readline()
    while "case0: " not in said:
        said = command.stderr.readline()
        assert said, "the command ended and did not say it"
    return said.rstrip().rpartition("\r")[2]


@pytest.mark.fault(16)
@pytest.mark.parametrize("flags", [("-npp", 1, "-nps", 0), ("-npp", 0, "-nps", 1)], ids=["preprocessing", "export"])
def test_killed_worker_fails_its_case_by_name_and_the_others_finish(flags, model, tmp_path):
    images, out = give(tmp_path / "images", {key: [T1C] for key in CASES}), tmp_path / "out"
    model = ("-m", model, "-f", 0, "-device", "cpu")
    with start("magms_predict", "-i", images, "-o", out, *model, *flags) as command:
        said = kill_first_worker(command)
        rest = command.stderr.read()
    message = "case0: its process was ended by SIGKILL, perhaps for lack of memory: use smaller -npp and -nps"
    assert said.endswith(message)
    assert command.returncode == 3
    assert rest.splitlines()[-1] == f"magms_predict: {message}"
    others = {f"{case}{end}" for case in CASES[1:] for end in (ENDING, ".json")}
    assert files_in(out) == SIDE_FILES | others


@pytest.mark.fault(16)
@pytest.mark.slow
@pytest.mark.parametrize("flags", [("-npp", 1, "-nps", 0), ("-npp", 0, "-nps", 1)], ids=["preprocessing", "scoring"])
def test_killed_worker_of_an_evaluation(flags, model, tmp_path):
    images = give(tmp_path / "images", dict.fromkeys(CASES, range(4)))
    for case in CASES:
        write_image(tmp_path / "labels" / f"{case}{ENDING}", np.ones(SHAPE, np.uint8))
    data = ("-i", images, "-l", tmp_path / "labels", "-m", model, "-device", "cpu")
    with start("magms_evaluate", *data, "-o", tmp_path / "out", *flags) as command:
        said = kill_first_worker(command)
        command.stderr.read()
    assert "case0: its process was ended by SIGKILL" in said
    assert command.returncode == 3
    assert files_in(tmp_path / "out/cases") == {f"{case}.json" for case in CASES[1:]}
