"""A raw dataset whose training patients lack scans, made of links to a complete one; for ``accuracy.py``."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def draw(cases: Sequence[str], patients: Mapping[str, str], rates: Sequence[float], seed: int) -> dict[str, list[int]]:
    """Channels of each case. A patient lacks each modality independently with its rate, and has at least one.

    Args:
        cases: of the dataset.
        patients: case -> patient, whose cases lack the same scans; a case that is not in it is a patient.
        rates: of each channel, below 1.
        seed: decides all of it, together with the patients' names.
    """
    random = np.random.default_rng(seed)
    channels: dict[str, list[int]] = {}
    for patient in sorted({patients.get(case, case) for case in cases}):
        while not (has := random.random(len(rates)) >= rates).any():
            pass
        channels[patient] = np.flatnonzero(has).tolist()
    return {case: channels[patients.get(case, case)] for case in cases}


def link_dataset(data: Path, raw: Path, channels: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Make ``raw`` hold links to the files of ``data`` but for channels that ``channels`` leaves out of a case.

    Returns:
        The channels that each case has there. A case that ``channels`` would leave none has what it has in ``data``.
    """
    shutil.rmtree(raw, ignore_errors=True)
    (raw / "imagesTr").mkdir(parents=True)
    (raw / "labelsTr").symlink_to(data.resolve() / "labelsTr")
    files: dict[str, dict[int, Path]] = {}
    for file in sorted((data / "imagesTr").iterdir()):
        case, _, channel = file.name.split(".")[0].rpartition("_")
        files.setdefault(case, {})[int(channel)] = file
    linked = {}
    for case, of_case in files.items():
        linked[case] = [channel for channel in of_case if channel in channels.get(case, of_case)] or [*of_case]
        for channel in linked[case]:
            (raw / "imagesTr" / of_case[channel].name).symlink_to(of_case[channel].resolve())
    return linked


def complete_only_splits(splits: Sequence[dict], channels: Mapping[str, Sequence[int]], count: int) -> list[dict]:
    """The splits, trained on those cases alone that have all ``count`` modalities."""
    return [{**split, "train": [case for case in split["train"] if len(channels[case]) == count]} for split in splits]
