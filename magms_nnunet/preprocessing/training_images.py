"""Finds damaged training files that readers do not notice: truncated ones, and NaN."""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from magms_nnunet.errors import InputError, InputWarning, listing
from magms_nnunet.images.checks import unusable_range
from magms_nnunet.images.files import ImageFileError, read_image_file
from magms_nnunet.images.grid import GEOMETRY_TOLERANCE, contradiction, difference
from magms_nnunet.modalities import Modalities

_FILES_AT_ONCE = 4


def check_training_images(dataset: dict[str, dict], modalities: Modalities) -> None:
    """Check the files of a raw dataset by reading them to their ends.

    Args:
        dataset: case -> ``images``, paths in channel order, and ``label``, as nnU-Net finds them; of a case that lacks
            modalities also ``channels``, those of its images.
        modalities: for messages.

    Raises:
        InputError: files are damaged, or hold voxels that cannot be trained on; names the cases.

    Warns:
        InputWarning: the files of a case do not lie on one grid, a header describes two positions, or an image holds
            one value everywhere.
    """
    problems, apart, empty = [], [], []
    with ThreadPoolExecutor(min(_FILES_AT_ONCE, os.cpu_count() or 1)) as threads:
        found = threads.map(lambda files: _examine(files, modalities), dataset.values())
        for case, (of_case, shift, constant) in zip(tqdm(dataset, "checking files", unit="case"), found, strict=True):
            problems += [f"{case}: {problem}" for problem in of_case]
            apart += [f"{case}: {shift}"] if shift else []
            empty += [f"{case}: {', '.join(constant)}"] if constant else []
    if empty:
        text = "the model learns from these as from images; put real ones in, or train without the cases"
        warnings.warn(f"one value everywhere: {listing(empty, separator='; ')}: {text}", InputWarning, stacklevel=2)
    if apart:
        text = "resample the files of each case to one grid"
        warnings.warn(f"not on one grid: {listing(apart, separator='; ')}: {text}", InputWarning, stacklevel=2)
    if problems:
        raise InputError(
            "these cases cannot be trained on; repair their files or remove the cases: "
            + listing(problems, separator="; ")
        )


def _examine(files: dict, modalities: Modalities) -> tuple[list[str], str | None, list[str]]:
    """Return the problems of a case's files, the difference between their grids, and the constant images."""
    problems, grids, constant = [], [], []
    images, channels = files["images"], files.get("channels", modalities.complete)
    names = [modalities.names[channel] for channel in channels]
    kinds = [
        *(names if len(names) == len(images) else ["image"] * len(images)),
        "label",
    ]  # a file may hold all channels
    for path, kind in zip(map(Path, [*images, files["label"]]), kinds, strict=True):
        label = f"{path.name} ({kind})"
        try:
            content = read_image_file(path)
        except ImageFileError as error:
            problems.append(f"{label} {error}")
            continue
        if content is None:
            continue
        grid, voxels = content
        grids.append((grid, label))
        if voxels.nonfinite:
            problems.append(f"{label} holds {voxels.nonfinite} NaN or infinite voxels")
        elif kind == "label":
            continue
        elif voxels.minimum == voxels.maximum:
            constant.append(label)
        elif problem := unusable_range(voxels):
            problems.append(f"{label} {problem}")
    return problems, next(_differences(grids), None), constant


def _differences(grids: list) -> Iterator[str]:
    for grid, label in grids:
        if problem := contradiction(grid, GEOMETRY_TOLERANCE):
            yield f"{label} {problem}"
    for grid, label in grids[1:]:
        first, name = grids[0]
        if problem := difference(grid, first, name, GEOMETRY_TOLERANCE):
            yield f"{label} {problem}"
