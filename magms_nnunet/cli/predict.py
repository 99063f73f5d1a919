"""``magms_predict``: nnUNetv2_predict for patients who do not have all modalities."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from magms_nnunet.cli import exits


def parser() -> argparse.ArgumentParser:
    """The flags of nnUNetv2_predict, meaning the same, and ``--modalities``."""
    p = argparse.ArgumentParser(
        prog="magms_predict",
        description="Segment cases from whichever modalities they have, with a model trained by MAGMSTrainer. Writes "
        "CASE.json beside each segmentation: the modalities used, those absent, and the model.",
    )
    add = p.add_argument
    add("-i", metavar="FOLDER", required=True, help="images named CASE_XXXX, XXXX being the channel as in training")
    add("-o", metavar="FOLDER", required=True, help="where the segmentations go")
    add(
        "--modalities",
        metavar="NAME",
        nargs="*",
        help="predict from exactly these (names of dataset.json, their usual aliases, or channel numbers), e.g. T1c F; "
        "no other file is read. Default: each case from what it has",
    )
    add(
        "--fill",
        choices=["zero", "mean"],
        help="for stock networks, which need all: fill what is missing with zeros, or voxel by voxel with the mean of "
        "what is there",
    )
    add("-d", metavar="DATASET", help="name or id of the dataset that the model was trained on")
    add("-c", metavar="CONFIGURATION", help="such as 3d_fullres")
    add("-tr", metavar="TRAINER", default="MAGMSTrainer", help="default: %(default)s")
    add("-p", metavar="PLANS", default="MAGMSPlans", help="default: %(default)s")
    add("-m", metavar="FOLDER", help="the model's folder, instead of -d -c -tr -p")
    add("-f", metavar="FOLD", nargs="+", default=["0", "1", "2", "3", "4"], help="default: 0 1 2 3 4")
    add("-chk", metavar="FILE", default="checkpoint_final.pth", help="default: %(default)s")
    add("-step_size", metavar="TILES", type=float, default=0.5, help="of the sliding window, default: %(default)s")
    add("--disable_tta", action="store_true", help="no mirroring: faster, less accurate")
    add("--save_probabilities", action="store_true", help="write .npz as well, for nnUNetv2_ensemble")
    add("--continue_prediction", "--c", action="store_true", help="skip the cases that are predicted already")
    add("-prev_stage_predictions", metavar="FOLDER", help="segmentations of the previous stage, for a cascade")
    add("-npp", metavar="N", type=int, default=_number("nnUNet_npp"), help="processes that preprocess, default 3")
    add("-nps", metavar="N", type=int, default=_number("nnUNet_nps"), help="processes that export, default 3")
    add("-num_parts", metavar="N", type=int, default=1, help="number of commands that share these cases")
    add("-part_id", metavar="K", type=int, default=0, help="which of them this is, from 0")
    add("-device", choices=["cuda", "cpu", "mps"], help="default: the GPU if there is one")
    add("--not_on_device", action="store_true", help="collect results in host memory, for volumes that fill the GPU")
    add("--disable_progress_bar", action="store_true")
    add("--verbose", action="store_true")
    add("--debug", action="store_true", help="show where an error came from")
    return p


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 3


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if (args.m is None) == (args.d is None or args.c is None):
        p.error("say which model: either -d DATASET -c CONFIGURATION or -m FOLDER")
    if args.num_parts < 1:
        p.error(f"-num_parts must be 1 or more, got {args.num_parts}")
    if not 0 <= args.part_id < args.num_parts:
        p.error(f"-part_id must be from 0 to num_parts - 1 = {args.num_parts - 1}, got {args.part_id}")
    if not 0 < args.step_size <= 1:
        p.error(f"-step_size must be above 0 and at most 1, got {args.step_size}")
    if args.npp < 0 or args.nps < 0:
        p.error("-npp and -nps must be 0 or more")
    for fold in args.f:
        if fold != "all" and not fold.isdecimal():
            p.error(f"-f takes numbers or 'all', got {fold!r}")
    return exits.run(p.prog, lambda: _predict(args), args.debug)


def _predict(args: argparse.Namespace) -> int:
    from magms_nnunet.inference.command import PredictionRequest, predict

    failed = predict(
        PredictionRequest(
            input=Path(args.i),
            output=Path(args.o),
            model=Path(args.m) if args.m else None,
            dataset=args.d,
            configuration=args.c,
            trainer=args.tr,
            plans=args.p,
            folds=tuple(fold if fold == "all" else int(fold) for fold in args.f),
            checkpoint=args.chk,
            fill=args.fill,
            modalities=None if args.modalities is None else tuple(args.modalities),
            previous_stage=Path(args.prev_stage_predictions) if args.prev_stage_predictions else None,
            step_size=args.step_size,
            mirroring=not args.disable_tta,
            save_probabilities=args.save_probabilities,
            continue_prediction=args.continue_prediction,
            preprocessing_processes=args.npp,
            export_processes=args.nps,
            part=args.part_id,
            parts=args.num_parts,
            device=args.device,
            results_on_device=not args.not_on_device,
            progress_bar=not args.disable_progress_bar,
            verbose=args.verbose,
        )
    )
    for case, message in failed.items():
        print(f"magms_predict: {case}: {message}", file=sys.stderr)
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
