"""What is installed, and whether nnU-Net will find us: nothing here imports torch or nnU-Net."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from magms_nnunet import __version__
from magms_nnunet.environment.finding import FAIL, OK, WARN, Finding
from magms_nnunet.nnunet.version import TESTED_NNUNET


def check_python() -> Finding:
    """Python and this package."""
    where = (
        f"magms_nnunet {__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    return Finding(OK, "Python", where)


def check_nnunet() -> Finding:
    """nnU-Net is there, in the version that we test with or one that differs in the last number only."""
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
    """The .pth file that lets nnU-Net's own commands find our classes has been read when Python started."""
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
    """MONAI, which is optional."""
    if find_spec("monai") is None:
        return Finding(OK, "UNETR", 'not available; its trainers need MONAI (pip install "magms_nnunet[unetr]")')
    return Finding(OK, "UNETR", "MONAI is installed")
