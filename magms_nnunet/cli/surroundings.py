"""Checks of the shell: variables that nnU-Net and torch read when they are imported, and the locale."""

import os
import sys
from pathlib import Path

from magms_nnunet.errors import InputError, shorten

# Variable -> its smallest number. With the first two, the import of nnU-Net would fail.
_NUMBERS = {"nnUNet_def_n_proc": 1, "nnUNet_n_proc_DA": 0, "nnUNet_npp": 0, "nnUNet_nps": 0, "OMP_NUM_THREADS": 1}


def check_variables() -> None:
    """Check that certain variables are whole numbers.

    Raises:
        InputError: a variable is not.
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

    Linux stores names as bytes, which are UTF-8 in any locale of a cluster job, and SimpleITK accepts nothing else. A
    program that calls the command is not restarted.
    """
    is_a_process_of_its_own = Path(sys.argv[0]).name == command
    if os.name == "posix" and sys.getfilesystemencoding() != "utf-8" and is_a_process_of_its_own:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
