"""Which part a process has, by the variables that each launcher sets."""

import pytest

from magms_nnunet.cli.parts import find_part
from magms_nnunet.cli.predict import main
from magms_nnunet.errors import InputError


def array(task: int, first: int, last: int, count: int, step: int = 1) -> dict[str, str]:
    names = ("ID", "MIN", "MAX", "COUNT", "STEP")
    return {f"SLURM_ARRAY_TASK_{name}": str(n) for name, n in zip(names, (task, first, last, count, step), strict=True)}


SRUN = {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (array(0, 0, 7, 8), (0, 8)),
        (array(5, 1, 8, 8), (4, 8)),
        (array(6, 0, 9, 4, 3), (2, 4)),  # --array=0-9:3
        (array(3, 3, 3, 1), (0, 1)),
        (SRUN, (2, 4)),
        (array(1, 0, 2, 3) | SRUN, (6, 12)),  # four processes in each of three tasks
        ({"RANK": "3", "WORLD_SIZE": "4"}, (3, 4)),
        ({"PMI_RANK": "0", "PMI_SIZE": "2"}, (0, 2)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        (SRUN | {"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),  # torchrun, started by srun
        # sbatch's script itself is not one of so many processes
        (array(0, 0, 1, 2) | {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 2)),
    ],
)
def test_part(environment, expected):
    assert find_part(environment) == expected


def test_parts_are_all_cases_once():
    both = [
        find_part(array(task, 0, 2, 3) | {"SLURM_PROCID": str(k), "SLURM_STEP_NUM_TASKS": "4"})
        for task in range(3)
        for k in range(4)
    ]
    assert both == [(part, 12) for part in range(12)]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "no variable"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, "no variable"),
        ({"RANK": "1"}, "no variable"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK is 'x'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2 and WORLD_SIZE is 2"),
        (array(7, 1, 7, 3), "use --array=0-2"),  # --array=1,3,7
        ({"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_MIN is ''"),
    ],
)
def test_what_does_not_say_it_is_refused(environment, message):
    with pytest.raises(InputError, match=f"-num_parts auto: .*{message}"):
        find_part(environment)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("-num_parts", "auto", "-part_id", "0"), "leave out -part_id"),
        (("-num_parts", "auto"), "no variable of a SLURM array"),
        (("-num_parts", "some"), "invalid"),
        (("-num_parts", "2", "-part_id", "2"), "-part_id must be from 0 to"),
    ],
)
def test_flags(flags, message, capsys, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "PMI_RANK", "SLURM_ARRAY_TASK_ID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as exit:
        main(["-i", "x", "-o", "y", "-m", "z", *flags])
    assert exit.value.code == 2
    assert message in capsys.readouterr().err
