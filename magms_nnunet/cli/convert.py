"""``magms_convert``: converts a published dataset to a dataset of nnU-Net."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from magms_nnunet.cli import exits, flags
from magms_nnunet.datasets.convert import CONVERTERS
from magms_nnunet.errors import one_line


def parser() -> argparse.ArgumentParser:
    """Make the parser of the flags."""
    p = argparse.ArgumentParser(
        prog="magms_convert",
        description="Writes an unpacked iSEG-2017, Medical Segmentation Decathlon Task01_BrainTumour or BraTS (2017 to "
        "2024, gliomas) into nnUNet_raw, with a split into training, validation and, for the first two, test cases.",
    )
    p.add_argument("kind", choices=list(CONVERTERS), help="which dataset it is")
    p.add_argument("source", metavar="SRC", type=Path, help="its folder; it is only read")
    p.add_argument("-d", metavar="DATASET", required=True, help="id of the new dataset, or its name DatasetXXX_NAME")
    p.add_argument("--seed", metavar="N", type=int, default=0, help="of the random split, default: %(default)s")
    p.add_argument("--skip-incomplete", action="store_true", help="leave out cases that lack a file")
    flags.add_tolerance(p)
    p.add_argument("--overwrite", action="store_true", help="replace a dataset of that name")
    p.add_argument("--debug", action="store_true", help="show where an error came from")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        p.error(f"--seed must be from 0 to {2**32 - 1}, got {args.seed}")
    flags.check_tolerance(p, args.geometry_tolerance)
    return exits.run(p.prog, lambda: _convert(args), args.debug)


def _convert(args: argparse.Namespace) -> int:
    from magms_nnunet.datasets.convert import convert
    from magms_nnunet.datasets.new_dataset import next_commands

    made = convert(
        args.kind, args.source, args.d, args.seed, args.overwrite, args.skip_incomplete, args.geometry_tolerance
    )
    for note in made.notes:
        exits.say(f"note: {one_line(note)}")
    split = made.split
    exits.say(
        f"{made.folder}: {len(split.train)} training, {len(split.val)} validation and {len(split.test)} test cases, "
        f"at random with --seed {made.seed}"
    )
    exits.say(next_commands(made.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
