"""A new raw dataset that appears complete or not at all."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from magms_nnunet.errors import InputError
from magms_nnunet.nnunet.folders import nnunet_folder
from magms_nnunet.storage.files import write_then_rename
from magms_nnunet.storage.new_folders import new_folders

SPLITS_FILE = "splits_final.json"
TEMPORARY = ".magms-dataset_"
"""Prefix of the temporary folder. It may hold a dataset that is being replaced, so it does not count as unfinished."""


@contextmanager
def new_dataset(name: str, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder to fill, hidden in nnUNet_raw; when the block ends well, it gets its name.

    Its splits_final.json, if it has one, is copied to nnUNet_preprocessed, where nnU-Net's training reads it. An old
    one there is always removed, because nnU-Net's planner refuses splits that differ from those in nnUNet_raw.

    Args:
        name: ``DatasetXXX_NAME``.
        overwrite: whether to replace a dataset of that name, after the block.

    Raises:
        InputError: the dataset or its splits exist and ``overwrite`` is not set, or nnUNet_raw cannot be written to.
        Exception: whatever the block raises; existing datasets are then unchanged.
    """
    raw, preprocessed = nnunet_folder("nnUNet_raw"), nnunet_folder("nnUNet_preprocessed") / name
    target, splits = raw / name, preprocessed / SPLITS_FILE
    _check_free((target, splits), overwrite)
    with ExitStack() as stack:
        try:
            raw.mkdir(parents=True, exist_ok=True)
            hidden = stack.enter_context(new_folders([name], raw, TEMPORARY, overwrite))
        except OSError as error:
            raise InputError(f"cannot write to nnUNet_raw ({raw}: {error.strerror})") from error
        building = hidden / name
        building.mkdir()
        yield building
        _check_free((target, splits), overwrite)
    splits.unlink(missing_ok=True)
    if (target / SPLITS_FILE).is_file():
        preprocessed.mkdir(parents=True, exist_ok=True)
        write_then_rename(splits, lambda path: shutil.copyfile(target / SPLITS_FILE, path))


def _check_free(paths: Sequence[Path], overwrite: bool) -> None:
    for path in paths:
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists already: choose another id, or replace it with --overwrite")


def next_commands(name: str) -> str:
    """Return the next commands for a new dataset, as text to print."""
    identifier = int(name[len("Dataset") :][:3])
    fingerprint = nnunet_folder("nnUNet_preprocessed") / name / "dataset_fingerprint.json"
    clean = " --clean" if fingerprint.exists() else ""  # otherwise nnU-Net keeps the fingerprint of an earlier dataset
    return f"next: nnUNetv2_plan_and_preprocess -d {identifier} -pl MAGMSPlanner -c 3d_fullres{clean}"
