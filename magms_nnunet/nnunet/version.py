"""The version of nnU-Net that this package is tested with."""

import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from magms_nnunet.errors import InputError, InputWarning

TESTED_NNUNET = "2.8.1"


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on."""
    return {package: version(package) for package in ("magms_nnunet", "nnunetv2", "torch")}


def check_hooks(base: type, names: Sequence[str]) -> None:
    """Check that nnU-Net has the methods that we override; a renamed one would never be called.

    Args:
        base: class of nnU-Net.
        names: of the methods.

    Raises:
        InputError: a method is missing.
    """
    for name in names:
        if not hasattr(base, name):
            raise InputError(
                f"nnunetv2 {version('nnunetv2')} has no {base.__name__}.{name}, which magms_nnunet replaces: "
                f"install nnunetv2 {TESTED_NNUNET}"
            )


def untested_nnunet_warnings() -> list[str]:
    """Return a warning where another nnU-Net is installed; the last number of its version may differ."""
    try:
        found = version("nnunetv2")
    except PackageNotFoundError:
        return [f"nnunetv2 is not installed: pip install nnunetv2=={TESTED_NNUNET}"]
    if found.split(".")[:2] == TESTED_NNUNET.split(".")[:2]:
        return []
    return [f"nnunetv2 {found} is untested, {TESTED_NNUNET} is tested: compare a known case before you rely on results"]


def warn_of_untested_nnunet() -> None:
    """Warn of an untested nnU-Net, once; every command, trainer and planner calls this."""
    for text in untested_nnunet_warnings():
        warnings.warn(text, InputWarning, stacklevel=2)
