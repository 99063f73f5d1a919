"""``magms_demo``: trains and predicts incomplete patients in minutes, without data or a GPU."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from magms_nnunet.cli import exits


def parser() -> argparse.ArgumentParser:
    """Make the parser of the flags."""
    p = argparse.ArgumentParser(
        prog="magms_demo",
        description="Makes a phantom dataset, plans and trains with nnU-Net's own commands on the CPU, predicts test "
        "cases from T1c, T1c+FLAIR and all four modalities, prints the Dice of each, and reports on all 15 subsets.",
    )
    p.add_argument("-o", metavar="FOLDER", default="magms_demo", help="where everything goes, default: %(default)s")
    p.add_argument("--epochs", metavar="N", type=int, default=16, help="length of the training, default: %(default)s")
    p.add_argument("--seed", metavar="N", type=int, default=0, help="of the phantom, default: %(default)s")
    p.add_argument("--debug", action="store_true", help="show where an error came from")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if args.epochs < 1 or args.seed < 0:
        p.error(f"--epochs must be above 0 and --seed not below it, got {args.epochs} and {args.seed}")
    return exits.run(p.prog, lambda: _run(args), args.debug)


def _run(args: argparse.Namespace) -> int:
    from magms_nnunet.demo.commands import CommandError
    from magms_nnunet.demo.demo import Demo

    try:
        Demo(Path(args.o), args.epochs, args.seed).run()
    except CommandError as error:
        exits.say(f"magms_demo: {error}", sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
