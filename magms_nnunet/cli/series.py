"""``magms_series``: shows the series of a DICOM study and the modality of each."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from magms_nnunet.cli import exits


def parser() -> argparse.ArgumentParser:
    """Make the parser of the flags."""
    p = argparse.ArgumentParser(
        prog="magms_series",
        description="Shows the series of a DICOM study: number, images, the modality that magms_predict --dicom takes "
        "each for and why, and the UID to name one with --series. Nothing is written.",
    )
    p.add_argument("study", metavar="STUDY", help="folder with the files of one study, in any order and folders")
    p.add_argument("--debug", action="store_true", help="show where an error came from")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    return exits.run(p.prog, lambda: _show(Path(args.study)), args.debug)


def _show(study: Path) -> int:
    from magms_nnunet.dicom.choice import table
    from magms_nnunet.dicom.study import find_series

    exits.say(table(find_series(study)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
