"""Random splits into training, validation and test cases that never separate the cases of a patient."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from magms_nnunet.errors import InputError


@dataclass(frozen=True)
class Split:
    """Case names of each part, sorted."""

    train: list[str]
    val: list[str]
    test: list[str]


def random_split(patients: Mapping[str, str], proportions: tuple[int, int, int], seed: int) -> Split:
    """Split the cases at random, in the sizes of :func:`split_sizes`; a seed gives the same split on all machines.

    Args:
        patients: case -> patient.
        proportions: of training, validation and test; the last may be 0.
        seed: from 0 to 2^32 - 1.

    Raises:
        InputError: there are fewer patients than parts.
    """
    names = sorted(set(patients.values()))
    # RandomState, not default_rng: NumPy promises that its streams never change.
    shuffled = [names[i] for i in np.random.RandomState(seed).permutation(len(names))]
    parts, start = [], 0
    for size in split_sizes(len(names), proportions):
        chosen = set(shuffled[start : start + size])
        parts.append(sorted(case for case, patient in patients.items() if patient in chosen))
        start += size
    return Split(*parts)


def split_sizes(patients: int, proportions: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the numbers of patients: validation and test rounded, at least 1 where wanted; training the rest.

    Raises:
        InputError: there are fewer patients than parts.
    """
    parts = sum(share > 0 for share in proportions)
    if patients < parts:
        raise InputError(f"{patients} patients cannot be split into {parts} parts: give at least {parts}")
    _, val, test = (max(1, round(patients * share / sum(proportions))) if share else 0 for share in proportions)
    return patients - val - test, val, test
