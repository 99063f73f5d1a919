"""``magms_predict``: nnUNetv2_predict for patients who do not have all modalities."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from magms_nnunet.cli import exits, flags


def parser() -> argparse.ArgumentParser:
    """The flags of nnUNetv2_predict, meaning the same, and ``--modalities``."""
    p = argparse.ArgumentParser(
        prog="magms_predict",
        description="Segment cases from whichever modalities they have, with a model trained by MAGMSTrainer. Writes "
        "CASE.json beside each segmentation: the modalities used, those absent, the model, and the Dice to expect.",
    )
    add = p.add_argument
    add("-i", metavar="FOLDER", required=True, help="images named CASE_XXXX, XXXX being the channel as in training")
    add("-o", metavar="FOLDER", required=True, help="where the segmentations go")
    add(
        "--modalities",
        metavar="NAME",
        nargs="*",
        help="predict from exactly these (names of dataset.json, usual aliases or channel numbers), T1c F or T1c,F; no "
        "other file is read. Default: each case from what it has",
    )
    flags.add_model(p, ("0", "1", "2", "3", "4"))
    add("--save_probabilities", action="store_true", help="write .npz as well, for nnUNetv2_ensemble")
    add("--continue_prediction", "--c", action="store_true", help="skip the cases that are predicted already")
    add("-prev_stage_predictions", metavar="FOLDER", help="segmentations of the previous stage, for a cascade")
    flags.add_checks(p, treat_empty=True)
    flags.add_window(p)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    p = parser()
    args = p.parse_args(argv)
    flags.check(p, args)
    return exits.run(p.prog, lambda: _predict(args), args.debug)


def _predict(args: argparse.Namespace) -> int:
    exits.starting("magms_predict", not args.disable_progress_bar)
    from magms_nnunet.inference.command import PredictionRequest, predict

    failed = predict(
        PredictionRequest(
            input=Path(args.i),
            output=Path(args.o),
            model=flags.model_request(args),
            window=flags.window_request(args),
            modalities=None if args.modalities is None else tuple(args.modalities),
            checks=flags.input_checks(args),
            previous_stage=Path(args.prev_stage_predictions) if args.prev_stage_predictions else None,
            save_probabilities=args.save_probabilities,
            continue_prediction=args.continue_prediction,
            preprocessing_processes=args.npp,
            export_processes=args.nps,
            part=args.part_id,
            parts=args.num_parts,
            progress_bar=not args.disable_progress_bar,
        )
    )
    return exits.failures("magms_predict", failed, args.debug)


if __name__ == "__main__":
    sys.exit(main())
