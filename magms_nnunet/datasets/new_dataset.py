"""A new raw dataset that appears complete or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from magms_nnunet.datasets.nnunet_folders import nnunet_folder
from magms_nnunet.errors import InputError
from magms_nnunet.files import write_then_rename

SPLITS_FILE = "splits_final.json"


@contextmanager
def new_dataset(name: str, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder to fill, hidden in nnUNet_raw; when the block ends well, it gets its name.

    Its splits_final.json, if it has one, is copied to nnUNet_preprocessed, where nnU-Net's training reads it. An old
    one there is removed in any case: nnU-Net's planner refuses splits that differ from those in nnUNet_raw.

    Args:
        name: ``DatasetXXX_NAME``.
        overwrite: replace a dataset of that name, after the block.

    Raises:
        InputError: the dataset or its splits exist and ``overwrite`` is not set, or nnUNet_raw cannot be written to.
        Whatever the block raises; everything is then as before.
    """
    raw, preprocessed = nnunet_folder("nnUNet_raw"), nnunet_folder("nnUNet_preprocessed") / name
    target, splits = raw / name, preprocessed / SPLITS_FILE
    for existing in (target, splits):
        if existing.exists() and not overwrite:
            raise InputError(f"{existing} exists already: choose another id, or replace it with --overwrite")
    try:
        raw.mkdir(parents=True, exist_ok=True)
        hidden = TemporaryDirectory(prefix=".magms_", dir=raw)
    except OSError as error:
        raise InputError(f"cannot write to nnUNet_raw ({raw}: {error.strerror})") from error
    with hidden:
        building, old = Path(hidden.name) / name, Path(hidden.name) / "old"
        building.mkdir()
        yield building
        if target.exists():
            target.rename(old)
        try:
            building.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    splits.unlink(missing_ok=True)
    if (target / SPLITS_FILE).is_file():
        preprocessed.mkdir(parents=True, exist_ok=True)
        write_then_rename(splits, lambda path: shutil.copyfile(target / SPLITS_FILE, path))


def next_commands(name: str) -> str:
    """What a user does next with a new dataset, as text to print."""
    identifier = int(name[len("Dataset") :][:3])
    fingerprint = nnunet_folder("nnUNet_preprocessed") / name / "dataset_fingerprint.json"
    clean = " --clean" if fingerprint.exists() else ""  # else nnU-Net keeps the fingerprint of the dataset before
    return f"next: nnUNetv2_plan_and_preprocess -d {identifier} -pl MAGMSPlanner -c 3d_fullres{clean}"
