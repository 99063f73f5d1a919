"""Checks of the installation and of nnU-Net's folders: nothing here imports torch or nnU-Net."""

import os
import platform
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from magms_nnunet import __version__
from magms_nnunet.environment.finding import FAIL, OK, WARN, Finding
from magms_nnunet.nnunet.version import TESTED_NNUNET

NEEDED_FOR = {
    "nnUNet_raw": "planning and preprocessing",
    "nnUNet_preprocessed": "training",
    "nnUNet_results": "training and prediction with -d",
}
LITTLE_SPACE_GB = 10  # a preprocessed case of BraTS takes 0.1 GB, a checkpoint with its optimiser 1 GB
LITTLE_SHARED_MEMORY_GB = 1  # Docker gives 0.06; a batch of four modalities at 128^3 takes 0.07, and dozens are queued
SHARED_MEMORY = Path("/dev/shm")


def check_python() -> Finding:
    """Report the versions of Python and of this package."""
    where = (
        f"magms_nnunet {__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    return Finding(OK, "Python", where)


def check_nnunet() -> Finding:
    """Check that nnU-Net is installed, in the tested version or one that differs in the last number only."""
    try:
        found = version("nnunetv2")
    except PackageNotFoundError:
        return Finding(FAIL, "nnU-Net", "nnunetv2 is not installed", f"pip install nnunetv2=={TESTED_NNUNET}")
    if found.split(".")[:2] != TESTED_NNUNET.split(".")[:2]:
        return Finding(
            WARN,
            "nnU-Net",
            f"nnunetv2 {found} is untested, {TESTED_NNUNET} is tested",
            f"pip install nnunetv2=={TESTED_NNUNET}",
        )
    return Finding(OK, "nnU-Net", f"nnunetv2 {found}")


def check_hook() -> Finding:
    """Check that Python has read the .pth file that lets nnU-Net's own commands find our classes."""
    subject = "start-up hook"
    if os.environ.get("MAGMS_AUTOLOAD") == "0":
        message = "switched off by MAGMS_AUTOLOAD=0, so nnU-Net's commands do not find our trainers and planners"
        return Finding(WARN, subject, message, "unset MAGMS_AUTOLOAD")
    if "magms_nnunet.autoload" not in sys.modules:
        return Finding(
            WARN,
            subject,
            "zz_magms_nnunet.pth was not read, so nnU-Net's commands do not find our trainers and planners",
            "install with pip into the environment's own site-packages, not with --target or PYTHONPATH",
        )
    return Finding(OK, subject, "active, nnU-Net's commands look our classes up")


def check_unetr() -> Finding:
    """Report whether MONAI, which is optional, is installed."""
    if find_spec("monai") is None:
        return Finding(OK, "UNETR", 'not available; its trainers need MONAI (pip install "magms_nnunet[unetr]")')
    return Finding(OK, "UNETR", "MONAI is installed")


def check_folder(variable: str) -> Finding:
    """Check one of nnU-Net's folders: the variable is set, the folder exists, can be written to and has space."""
    value = os.environ.get(variable)
    if not value:
        return Finding(WARN, variable, f"not set, but needed for {NEEDED_FOR[variable]}", f"export {variable}=FOLDER")
    folder = Path(value)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        return Finding(FAIL, variable, f"{folder} {what}", f"mkdir -p {folder}, or correct the variable")
    if (problem := _not_writable(folder)) is not None:
        # raw images are only read, and prediction only reads the models of others
        return Finding(
            WARN, variable, f"{folder} cannot be written to ({problem})", f"{NEEDED_FOR[variable]} may need it"
        )
    return _space(variable, folder)


def check_temporary_folder() -> Finding:
    """Check the folder of temporary files."""
    try:
        return _space("temporary folder", Path(tempfile.gettempdir()))  # gettempdir has written to it
    except FileNotFoundError as error:
        return Finding(FAIL, "temporary folder", str(error), "set TMPDIR to a folder that can be written to")


def check_shared_memory(folder: Path = SHARED_MEMORY) -> Finding:
    """Check the memory through which data-loading processes pass batches on Linux."""
    subject = "shared memory"
    if not folder.is_dir():
        return Finding(OK, subject, f"this system has no {folder} and needs none")
    size_gb = shutil.disk_usage(folder).total / 1e9
    if size_gb < LITTLE_SHARED_MEMORY_GB:
        remedy = "in Docker: --ipc=host or --shm-size=8g; or nnUNet_n_proc_DA=0"
        return Finding(WARN, subject, f"only {size_gb:.2f} GB in {folder}, training may stop with a bus error", remedy)
    return Finding(OK, subject, f"{size_gb:.1f} GB in {folder}")


def _not_writable(folder: Path) -> str | None:
    """Return the error of a write, because permissions do not show a read-only disk; None: it succeeds."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror


def _space(subject: str, folder: Path) -> Finding:
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < LITTLE_SPACE_GB:
        return Finding(WARN, subject, f"{folder}, only {free_gb:.1f} GB free", "make space, or use another disk")
    return Finding(OK, subject, f"{folder}, {free_gb:.0f} GB free")
