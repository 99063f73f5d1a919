"""What the shell brings along: variables that nnU-Net and torch read as they are imported, and the locale."""

import os
import sys
from pathlib import Path

from magms_nnunet.errors import InputError, shorten

# Variable -> the smallest number that it takes. nnU-Net fails in its import over the first two.
_NUMBERS = {"nnUNet_def_n_proc": 1, "nnUNet_n_proc_DA": 0, "nnUNet_npp": 0, "nnUNet_nps": 0, "OMP_NUM_THREADS": 1}


def check_variables() -> None:
    """See that variables which must be whole numbers are.

    Raises:
        InputError: one is not.
    """
    for name, smallest in _NUMBERS.items():
        text = os.environ.get(name, "")
        numbers = text.split(",") if name == "OMP_NUM_THREADS" else [text]  # one per level of nested threads
        if text and not all(n.strip().isdecimal() and int(n) >= smallest for n in numbers):
            raise InputError(
                f"the variable {name} must be a whole number from {smallest}, got {shorten(text)}: correct it, "
                f"or type: unset {name}"
            )


def read_names_as_utf8(command: str) -> None:
    """Start the command again in Python's UTF-8 mode where the locale would read file names as ASCII or Latin-1.

    Linux keeps names as bytes, and they are UTF-8 whatever a cluster job's locale says; SimpleITK takes nothing else.
    A program that calls the command is left as it is.
    """
    is_a_process_of_its_own = Path(sys.argv[0]).name == command
    if os.name == "posix" and sys.getfilesystemencoding() != "utf-8" and is_a_process_of_its_own:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
