"""Training on two machines, as far as one machine goes: two launchers on its loopback, gloo, a process each."""

import signal
import socket
import subprocess
import time

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
