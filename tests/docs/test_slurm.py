"""The SLURM script of a training, with stand-ins for SLURM's commands and torchrun: when is the job queued again?"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="runs scripts with bash, which is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "several-machines.md"
STAND_INS = {
    "scontrol": 'echo "scontrol $*" >> log; [ "$1" = requeue ] || printf "first\\nsecond\\n"',
    "scancel": 'echo "scancel $*" >> log; kill -TERM "$(cat torchrun.pid)"',
    "srun": 'shift; SLURM_NODEID=1 exec "$@"',  # without its own flag
    "torchrun": "trap 'sleep 0.3; echo checkpoint >> log; exit 1' TERM; echo $$ > torchrun.pid\n"
    'echo "torchrun $*" >> log; for _ in $(seq "$STEPS"); do sleep 0.05; done; exit "$CODE"',
}


@pytest.fixture
def script(tmp_path):
    """script(steps, code): the job, whose training takes so many steps and ends with that code."""
    (text,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH --nodes=2.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "job.sh").write_text(text)
    for name, body in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)

    def start(steps: int, code: int) -> subprocess.Popen:
        variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STEPS": str(steps), "CODE": str(code)}
        variables |= {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "some"}
        return subprocess.Popen(["bash", "job.sh"], cwd=tmp_path, env=os.environ | variables)

    return start


def test_it_is_queued_again_after_the_checkpoint(script, tmp_path):
    log, end = tmp_path / "log", time.monotonic() + 20
    with script(1000, 0) as job:
        while not log.is_file() or "torchrun" not in log.read_text():
            assert time.monotonic() < end
            time.sleep(0.02)
        job.send_signal(signal.SIGTERM)
        assert job.wait(20) == 0
    assert log.read_text().splitlines() == [
        "scontrol show hostnames some",
        "torchrun --nnodes 2 --node-rank 1 --nproc-per-node 2 --master-addr first --master-port 29500 "
        "-m magms_nnunet.train 210 3d_fullres 0 -tr AnySubsetTrainer --c",
        "scancel --signal=TERM 7",
        "checkpoint",
        "scontrol requeue 7",
    ]


@pytest.mark.parametrize("code", [0, 1])
def test_a_training_that_ends_is_not_queued_again(code, script, tmp_path):
    with script(1, code) as job:
        assert job.wait(20) == code
    assert "requeue" not in (tmp_path / "log").read_text()
