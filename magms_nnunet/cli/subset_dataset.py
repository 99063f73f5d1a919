"""``magms_subset_dataset``: makes a dataset with some modalities of another."""

import argparse
import sys
from collections.abc import Sequence

from magms_nnunet.cli import exits
from magms_nnunet.errors import one_line


def parser() -> argparse.ArgumentParser:
    """Make the parser of the flags."""
    p = argparse.ArgumentParser(
        prog="magms_subset_dataset",
        description="Makes a raw dataset with some of another's modalities and the same cases, labels and splits, to "
        "train a model on those alone. Images are linked, not copied, where the file system allows it.",
    )
    p.add_argument("-d", metavar="DATASET", required=True, help="name or id of the dataset to take them from")
    p.add_argument("--modalities", metavar="NAME", nargs="+", required=True, help="as in magms_predict, e.g. T1c F")
    p.add_argument("-o", metavar="DATASET", required=True, help="id of the new dataset, or its name DatasetXXX_NAME")
    p.add_argument("--overwrite", action="store_true", help="replace a dataset of that name")
    p.add_argument("--debug", action="store_true", help="show where an error came from")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    return exits.run(p.prog, lambda: _make(args), args.debug)


def _make(args: argparse.Namespace) -> int:
    from magms_nnunet.datasets.new_dataset import next_commands
    from magms_nnunet.datasets.subset_dataset import make_subset_dataset

    made = make_subset_dataset(args.d, args.modalities, args.o, args.overwrite)
    if made.left_out:
        exits.say(f"note: cases that have none of the modalities are left out: {one_line(', '.join(made.left_out))}")
    if made.incomplete:
        exits.say(f"note: {made.incomplete} cases lack one of the modalities: train with one of our trainers")
    if made.splits_from:
        exits.say(f"splits: copied from {made.splits_from}")
    else:
        exits.say(f"splits: {args.d} has no splits_final.json yet, so nnU-Net will make its own for each dataset")
    counts = f"{made.training_cases} training, {made.test_cases} test cases"
    exits.say(one_line(f"{made.folder}: {', '.join(made.modalities)}; {counts}"))
    exits.say(next_commands(made.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
