"""``magms_evaluate``: scores a model on every subset of its modalities."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from magms_nnunet.cli import exits, flags
from magms_nnunet.errors import one_line
from magms_nnunet.storage.output_lock import locked_output


def parser() -> argparse.ArgumentParser:
    """Make the parser of the flags."""
    p = argparse.ArgumentParser(
        prog="magms_evaluate",
        description="Scores a model on all subsets of its modalities: Dice and HD95 per case, region and subset, which "
        "modalities matter, and a report to look at. The same command continues an interrupted evaluation.",
    )
    add = p.add_argument
    add("-o", metavar="FOLDER", required=True, help="where scores.csv, summary.json and report.html go")
    add("-i", metavar="FOLDER", help="images CASE_XXXX to evaluate on; default: what the fold validates on")
    add("-l", metavar="FOLDER", help="their reference segmentations, CASE")
    add("--subsets", metavar="SUBSET", nargs="+", help="such as T1c+F T1c; default: all")
    add(
        "--protocol",
        choices=["masked", "absent"],
        default="masked",
        help="masked: cases with all that they have, modalities dropped after preprocessing, in one sweep; absent: the "
        "files of the others are not read, a prediction for each subset. Default: %(default)s",
    )
    add(
        "--fast",
        action="store_true",
        help="share more work between the subsets of a sweep, for about a sixth less time on a CPU; segmentations are "
        "then those of magms_predict up to rounding: ties may fall differently",
    )
    flags.add_model(p, ("0",))
    add("--save_segmentations", action="store_true", help="also write segmentations/SUBSET/CASE")
    add("--attach", action="store_true", help="keep the Dice beside the model, for magms_predict to quote")
    add(
        "-prev_stage_predictions", metavar="FOLDER", help="of a cascade: the segmentations folder of its previous stage"
    )
    add("--merge", metavar="FOLDER", nargs="+", help="join these parts of an evaluation (-num_parts) into -o")
    flags.add_checks(p, treat_empty=False)
    flags.add_window(p)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if args.merge is None or args.attach:
        flags.check(p, args)
    if (args.i is None) != (args.l is None):
        p.error("-i and -l go together: images and their reference segmentations")
    if args.fast and args.protocol != "masked":
        p.error("--fast is for sweeps, --protocol masked")
    given = (word.rstrip("/\\") for word in (sys.argv[1:] if argv is None else argv))
    args.command = shlex.join([p.prog, *(PureWindowsPath(word).name or word for word in given)])  # no path of here
    return exits.run(p.prog, lambda: _merge(args) if args.merge else _evaluate(args), args.debug)


def _evaluate(args: argparse.Namespace) -> int:
    exits.starting("magms_evaluate", not args.disable_progress_bar)
    from magms_nnunet.evaluation.evaluate import evaluate
    from magms_nnunet.evaluation.request import EvaluationRequest

    summary, failed = evaluate(
        EvaluationRequest(
            output=Path(args.o),
            model=flags.model_request(args),
            window=flags.window_request(args),
            images=Path(args.i) if args.i else None,
            labels=Path(args.l) if args.l else None,
            checks=flags.input_checks(args),
            subsets=None if args.subsets is None else tuple(args.subsets),
            protocol=args.protocol,
            previous_stage=Path(args.prev_stage_predictions) if args.prev_stage_predictions else None,
            save_segmentations=args.save_segmentations,
            attach=args.attach,
            preprocessing_processes=args.npp,
            export_processes=args.nps,
            part=args.part_id,
            parts=args.num_parts,
            progress_bar=not args.disable_progress_bar,
            command=args.command,
        )
    )
    if summary:
        _print(summary, args.o)
    if args.attach and failed:
        exits.say(f"{args.o} is not attached to the model, as cases failed", sys.stderr)
    return exits.failures("magms_evaluate", failed, args.debug)


def _merge(args: argparse.Namespace) -> int:
    from magms_nnunet.evaluation import folder as evaluation
    from magms_nnunet.evaluation.evaluate import attach_summary
    from magms_nnunet.inference.request import check_output

    output = Path(args.o)
    check_output(output, None)
    with locked_output(output):
        evaluation.merge([Path(part) for part in args.merge], output)
        summary = evaluation.complete(output)
        if args.attach:
            attach_summary(flags.model_request(args).folder(), output, summary)
    _print(summary, args.o)
    return 0


def _print(summary: dict, output: str) -> None:
    """Print a line per subset."""
    names = {subset: one_line(subset) for subset in summary["subsets"]}
    width = max(map(len, names.values()))
    exits.say(f"{'subset':{width}}  Dice   SD     HD95/mm  cases")
    for subset, scores in summary["subsets"].items():
        dice, hd95_mm = scores["mean"]["dice"], scores["mean"]["hd95_mm"]
        exits.say(
            f"{names[subset]:{width}}  {dice['mean']:.3f}  {dice['sd']:.3f}  {hd95_mm['mean']:7.2f}  {dice['n']:5}"
        )
    exits.say(f"{Path(output) / 'report.html'} shows which modalities matter")


if __name__ == "__main__":
    sys.exit(main())
