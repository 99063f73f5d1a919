"""``magms_predict``: nnUNetv2_predict for patients who lack modalities."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from magms_nnunet.cli import exits, flags
from magms_nnunet.trust.sentences import sentences, summary

if TYPE_CHECKING:
    from magms_nnunet.inference.command import PredictionRequest


def parser() -> argparse.ArgumentParser:
    """Make the parser: the flags of nnUNetv2_predict with the same meaning, and our own."""
    p = argparse.ArgumentParser(
        prog="magms_predict",
        description="Segment cases from whichever modalities they have, with a model that takes any subset of them. "
        "Writes CASE.json beside each segmentation: the modalities used, those absent, the model, and the Dice to "
        "expect.",
    )
    add = p.add_argument
    add("-i", metavar="FOLDER", help="images named CASE_XXXX, XXXX being the channel as in training")
    add(
        "--image",
        metavar="NAME=FILE",
        nargs="+",
        help="one patient's images instead of -i, FLAIR=a.nii.gz T1c=b.mha, in any format that SimpleITK reads; -o is "
        "then the segmentation's file, and its JSON lies beside it",
    )
    add("--dicom", metavar="STUDY", help="one patient's DICOM study instead of -i; magms_series shows what it holds")
    add(
        "--cohort",
        metavar="TABLE",
        help="a CSV table of patients instead of -i: the column case and one per modality, with files relative to the "
        "table; an empty cell is a scan that was not acquired",
    )
    add("--bids", metavar="ROOT", help="a BIDS folder instead of -i: FLAIR, T1w, T2w, and T1w with the entity ce (T1c)")
    add(
        "--bids-suffix",
        metavar="NAME=SUFFIX",
        nargs="+",
        default=[],
        help="what the names of a modality's images end in, where it is another suffix: T1c=ce-gadolinium_T1w",
    )
    flags.add_patient(p)
    add("-o", metavar="OUTPUT", required=True, help="the folder of the segmentations; of one patient a file")
    add(
        "--modalities",
        metavar="NAME",
        nargs="*",
        help="predict from exactly these (names of dataset.json, usual aliases or channel numbers), T1c F or T1c,F; no "
        "other file is read. Default: each case from what it has",
    )
    flags.add_model(p, ("0", "1", "2", "3", "4"))
    flags.add_trust(p)
    add(
        "--dry-run",
        action="store_true",
        help="read names and headers of many cases, say what would be predicted and what would fail, write nothing",
    )
    add("--continue_prediction", "--c", action="store_true", help="skip the cases that are predicted already")
    add(
        "-prev_stage_predictions",
        metavar="FOLDER",
        help="segmentations of the previous stage, for a cascade; with --image the patient's file",
    )
    flags.add_checks(p, treat_empty=True)
    flags.add_window(p)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    flags.check(p, args)
    flags.check_trust(p, args)
    if [args.i, args.image, args.dicom, args.cohort, args.bids].count(None) != 4:
        p.error("say what to segment: one of -i FOLDER, --image NAME=FILE, --dicom STUDY, --cohort TABLE, --bids ROOT")
    if misplaced := _misplaced(args):
        p.error(misplaced)
    return exits.run(p.prog, lambda: _predict(args), args.debug)


def _misplaced(args: argparse.Namespace) -> str | None:
    """Return the error of flags that do not fit this kind of input; None: all fit."""
    study = args.dicom is not None
    folder = args.image is None and not study
    of_folders = {"-num_parts": args.num_parts > 1, "--continue_prediction": args.continue_prediction}
    of_folders |= {"--dry-run": args.dry_run}
    of_folders |= {"--modalities": args.modalities is not None and not study}
    of_patients = {"--grid": args.grid is not None, "--register": args.register is not None}
    of_studies = {"--series": bool(args.series), "--keep-identifiers": args.keep_identifiers}
    of_studies |= {"--output-type": args.output_type != "nifti"}
    of_bids = {"--bids-suffix": bool(args.bids_suffix)}
    for flags_, fits, right in (
        (of_bids, args.bids is not None, "for BIDS folders (--bids)"),
        (of_folders, folder, "for many cases, not for one patient"),
        (of_patients, not folder, "for one patient (--image or --dicom), not for many"),
        (of_studies, study, "for DICOM studies (--dicom)"),
    ):
        if not fits and (given := [flag for flag, is_given in flags_.items() if is_given]):
            return f"{', '.join(given)}: {right}"
    if args.register is not None and args.grid is None:
        return "--register needs --grid, which says to what the others are moved"
    return None


def _predict(args: argparse.Namespace) -> int:
    exits.starting("magms_predict", not args.disable_progress_bar)
    reports: list[dict] = []
    start, one = perf_counter(), args.image is not None or args.dicom is not None
    if args.dry_run:
        return _plan(args)
    failed = _predict_patient(args, reports) if one else _predict_many(args, reports)
    for sentence in sentences(reports):
        exits.say(sentence)
    if not one:
        exits.say(f"{summary(reports, len(failed), perf_counter() - start)}: {args.o}")
    return exits.failures("magms_predict", failed, args.debug)


def _plan(args: argparse.Namespace) -> int:
    from magms_nnunet.inference.dry_run import plan

    found = plan(_request(args, []))
    for subset, cases in sorted(found.subsets.items()):
        exits.say(f"{cases} case{'s' * (cases > 1)} from {subset}")
    exits.say(f"{found.subsets.total()} to predict, {found.finished} finished, {len(found.failed)} would fail")
    return exits.failures("magms_predict", found.failed, args.debug)


def _predict_many(args: argparse.Namespace, reports: list[dict]) -> dict[str, str]:
    from magms_nnunet.inference.command import predict

    return predict(_request(args, reports))


def _request(args: argparse.Namespace, reports: list[dict]) -> "PredictionRequest":
    from magms_nnunet.inference.command import BIDS, COHORT, FOLDER, PredictionRequest

    given = {FOLDER: args.i, COHORT: args.cohort, BIDS: args.bids}
    kind = next(kind for kind, path in given.items() if path is not None)
    return PredictionRequest(
        input=Path(given[kind]),
        kind=kind,
        bids_suffixes=tuple(args.bids_suffix),
        output=Path(args.o),
        model=flags.model_request(args),
        window=flags.window_request(args),
        modalities=None if args.modalities is None else tuple(args.modalities),
        checks=flags.input_checks(args),
        previous_stage=Path(args.prev_stage_predictions) if args.prev_stage_predictions else None,
        save_probabilities=args.save_probabilities == "npz",
        continue_prediction=args.continue_prediction,
        preprocessing_processes=args.npp,
        export_processes=args.nps,
        part=args.part_id,
        parts=args.num_parts,
        progress_bar=not args.disable_progress_bar,
        extras=flags.extras(args),
        weak_below=args.weak_below,
        finished=reports.append,
    )


def _predict_patient(args: argparse.Namespace, reports: list[dict]) -> dict[str, str]:
    from magms_nnunet.dicom.choice import UnclearSeriesError
    from magms_nnunet.inference.patient import PatientRequest, predict_patient

    request = PatientRequest(
        images=tuple(args.image or ()),
        study=Path(args.dicom) if args.dicom else None,
        series=tuple(args.series),
        modalities=None if args.modalities is None else tuple(args.modalities),
        dicom_seg=args.output_type == "dicom-seg",
        grid=args.grid,
        register=args.register is not None,
        keep_identifiers=args.keep_identifiers,
        output=Path(args.o),
        model=flags.model_request(args),
        window=flags.window_request(args),
        checks=flags.input_checks(args),
        previous_stage=Path(args.prev_stage_predictions) if args.prev_stage_predictions else None,
        save_probabilities=args.save_probabilities == "npz",
        progress_bar=not args.disable_progress_bar,
        extras=flags.extras(args),
        weak_below=args.weak_below,
        finished=reports.append,
    )
    try:
        return predict_patient(request)
    except UnclearSeriesError as error:
        exits.say(error.table, sys.stderr)
        raise


if __name__ == "__main__":
    sys.exit(main())
