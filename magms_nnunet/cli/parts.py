"""``-num_parts auto``: reads the part of the cases of this process from the variables of a cluster."""

from collections.abc import Mapping

from magms_nnunet.errors import InputError

# variables of the rank and the number of processes, of the launcher nearest to the process first
_LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "PMI": ("PMI_RANK", "PMI_SIZE"),
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
}
_ARRAY = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
_STEP = "SLURM_ARRAY_TASK_STEP"


def find_part(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return part and number of parts. In a SLURM array whose tasks start several processes, both count.

    Raises:
        InputError: no variable is set, a value is no number, or the array has gaps.
    """
    task, tasks = _of_array(environment)
    rank, size = _of_launcher(environment)
    if tasks * size == 1 and _ARRAY[0] not in environment and not _launcher(environment):
        raise InputError(
            "-num_parts auto: no variable of a SLURM array, srun, torchrun, MPI or PMI says which part this is: give "
            "-num_parts N -part_id K"
        )
    return task * size + rank, tasks * size


def _launcher(environment: Mapping[str, str]) -> tuple[str, str] | None:
    return next((names for names in _LAUNCHERS.values() if all(environment.get(name) for name in names)), None)


def _of_launcher(environment: Mapping[str, str]) -> tuple[int, int]:
    if (names := _launcher(environment)) is None:
        return 0, 1
    rank, size = (_number(environment, name) for name in names)
    if not rank < size:
        raise InputError(
            f"-num_parts auto: {names[0]} is {rank} and {names[1]} is {size}: give -num_parts and -part_id"
        )
    return rank, size


def _of_array(environment: Mapping[str, str]) -> tuple[int, int]:
    if not environment.get(_ARRAY[0]):
        return 0, 1
    task, first, last, count = (_number(environment, name) for name in _ARRAY)
    step = _number(environment, _STEP) if environment.get(_STEP) else 1
    if (last - first) // step + 1 != count or (task - first) % step:
        raise InputError(
            f"-num_parts auto: the SLURM array {first}-{last} has gaps: "
            f"use --array=0-{count - 1}, or give -num_parts and -part_id"
        )
    return (task - first) // step, count


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not text.isdecimal():
        raise InputError(f"-num_parts auto: {name} is {text!r}, which is no number: give -num_parts and -part_id")
    return int(text)
