"""Training on two machines, as far as one machine goes: two launchers on its loopback, gloo, a process each."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.workspace import Dataset, Workspace, files_in, short_run

TRAINER = "AnySubsetTrainer"


@pytest.fixture
def workspace(tmp_path):
    workspace = Workspace(tmp_path, Dataset(cases=5))
    workspace.plan("3d_fullres")
    return workspace


def start(workspace: Workspace, epochs: int, *flags: str) -> list[subprocess.Popen]:
    """A launcher per machine."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    machines = ("--nnodes", 2, "--nproc-per-node", 1, "--master-addr", "127.0.0.1", "--master-port", port)
    train = ("-m", "magms_nnunet.train", workspace.id, "3d_fullres", 0, "-tr", TRAINER, "-device", "cpu", *flags)
    variables = short_run(epochs, 1) | {"nnUNet_n_proc_DA": "0", "OMP_NUM_THREADS": "1"}
    return [workspace.start("torchrun", *machines, "--node-rank", rank, *train, **variables) for rank in range(2)]


@pytest.mark.slow
def test_two_machines_stop_together_continue_and_validate(workspace):
    fold = workspace.model(trainer=TRAINER) / "fold_0"
    machines = start(workspace, 100)
    while not (fold / "progress.png").is_file():  # of the first epoch
        assert machines[0].poll() is None, machines[0].communicate()
        time.sleep(0.2)
    machines[1].send_signal(signal.SIGTERM)  # one machine alone is told
    for machine in machines:
        machine.communicate(timeout=300)
    assert "checkpoint_latest.pth" in files_in(fold)
    assert "stopped by SIGTERM in epoch" in max(fold.glob("training_log_*")).read_text()
    for machine in start(workspace, 2, "--c"):
        output = machine.communicate(timeout=600)
        assert machine.returncode == 0, output
    assert {"checkpoint_final.pth", "validation"} <= {path.name for path in fold.iterdir()}


@pytest.mark.slow
def test_a_machine_that_is_lost_is_named_and_the_training_continues(workspace):
    fold = workspace.model(trainer=TRAINER) / "fold_0"
    kept, lost = start(workspace, 100)
    while not (fold / "progress.png").is_file():  # of the first epoch, which left checkpoint_best
        assert kept.poll() is None, kept.communicate()
        time.sleep(0.2)
    for process in processes_of(lost.pid):  # the launcher first, so that it cannot tell anybody
        os.kill(process, signal.SIGKILL)
    lost.communicate(timeout=60)
    output, _ = kept.communicate(timeout=300)
    print(output)
    assert kept.returncode == 1
    (line,) = (line for line in output.splitlines() if line.startswith("magms_nnunet.train:"))
    assert "process 0 of 2 has lost another one, whose machine or process has ended (" in line
    assert line.endswith("): start all of them again with --c")
    for machine in start(workspace, 2, "--c"):
        output = machine.communicate(timeout=600)
        assert machine.returncode == 0, output
    assert "checkpoint_final.pth" in files_in(fold)
    assert "Epoch 1" in max(fold.glob("training_log_*")).read_text()
    assert "Epoch 0" not in max(fold.glob("training_log_*")).read_text()


def processes_of(launcher: int) -> list[int]:
    """A process and all that descend from it."""
    found = [launcher]
    for pid in found:
        found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found
