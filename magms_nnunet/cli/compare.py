"""``magms_compare``: compares evaluated systems in tables with the layouts of the paper."""

import argparse
import sys
from collections.abc import Sequence

from magms_nnunet.cli import exits


def parser() -> argparse.ArgumentParser:
    """Make the parser of the flags."""
    p = argparse.ArgumentParser(
        prog="magms_compare",
        description="Compares what magms_evaluate wrote: Dice and HD95 of every subset, wins and tests against the "
        "first system, cost of training, entropy, and what each modality adds. Writes a page, Markdown, LaTeX and CSV.",
    )
    p.add_argument(
        "systems",
        metavar="[NAME=]FOLDER[,FOLDER...]",
        nargs="+",
        help="a system: one folder of magms_evaluate, or several whose models share the subsets among them",
    )
    p.add_argument("-o", metavar="FOLDER", required=True, help="where the files go")
    p.add_argument(
        "--published", action="store_true", help="quote the figures of arXiv 2306.03730, too, apart and never ranked"
    )
    p.add_argument(
        "--tolerance",
        metavar="DICE",
        type=float,
        default=0.01,
        help="loss of Dice that is accepted for a smaller subset, default: %(default)s",
    )
    p.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")
    p.add_argument("--debug", action="store_true", help="show where an error came from")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if not 0 <= args.tolerance <= 1:
        p.error(f"--tolerance must be from 0 to 1, got {args.tolerance}")
    return exits.run(p.prog, lambda: _compare(args), args.debug)


def _compare(args: argparse.Namespace) -> int:
    from magms_nnunet.comparison.compare import compare

    exits.say(compare(args.systems, args.o, args.published, args.tolerance, args.overwrite))
    return 0


if __name__ == "__main__":
    sys.exit(main())
