"""The files of a single patient's results: the segmentation at ``-o``, and others beside it."""

from functools import partial
from pathlib import Path
from shutil import copyfile

import SimpleITK as sitk

from magms_nnunet.dicom.segmentation import write_segmentation
from magms_nnunet.dicom.study import Series
from magms_nnunet.errors import InputError
from magms_nnunet.images.cases import Case, check_result_name
from magms_nnunet.inference.earlier_results import is_prediction_report
from magms_nnunet.inference.extras import PREVIEWS, Extras
from magms_nnunet.metrics.dice import regions_from_dataset_json
from magms_nnunet.storage.files import check_writable, reserved_name, write_then_rename
from magms_nnunet.storage.json_files import replace_json
from magms_nnunet.storage.written_image import check_written

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Endings of a segmentation at ``-o``, besides that of the model."""

DICOM_SEG = ".dcm"


def split_name(output: Path, file_ending: str, *, dicom_seg: bool) -> tuple[str, str]:
    """Split the path of ``-o`` into the name of the segmentation and its ending.

    Args:
        output: the path.
        file_ending: of the files that the model reads.
        dicom_seg: whether a DICOM-SEG is wanted.

    Raises:
        InputError: the path has no ending that can be written.
    """
    endings = (DICOM_SEG,) if dicom_seg else (file_ending, *ENDINGS)
    ending = next((end for end in endings if output.name.endswith(end) and output.name != end), None)
    if ending is None or output.is_dir():
        allowed = ", ".join(sorted({*endings}))
        raise InputError(f"-o {output}: of one patient, name the segmentation's file, ending in {allowed}")
    name = output.name.removesuffix(ending)
    if reason := reserved_name(name):
        raise InputError(f"-o {output} {reason}")
    check_result_name(Case(name, {}), file_ending)
    return name, ending


def target_files(
    folder: Path, name: str, ending: str, file_ending: str, save_probabilities: bool, extras: Extras
) -> dict[str, Path]:
    """Return the files to write: file among the results of a folder -> final path, the segmentation last.

    Args:
        folder: of the final paths.
        name: of the segmentation, without its ending.
        ending: of the segmentation.
        file_ending: of the files that the model reads.
        save_probabilities: whether .npz and .pkl are wanted.
        extras: files that are wanted beside the segmentation.
    """
    targets = {f"{name}.json": folder / f"{name}.json"}
    if save_probabilities:
        targets |= {f"{name}{suffix}": folder / f"{name}{suffix}" for suffix in (".npz", ".pkl")}
    for file in extras.files(name):  # WHAT/NAME.ending
        what = file.partition("/")[0]
        targets[file] = folder / (f"{name}.png" if what == PREVIEWS else f"{name}_{what}.nii.gz")
    return targets | {f"{name}{file_ending}": folder / f"{name}{ending}"}


def check_targets(output: Path, targets: dict[str, Path], name: str) -> None:
    """Check that the files can be written and replace an older result of magms_predict, or nothing.

    Args:
        output: the path of ``-o``, for messages.
        targets: as :func:`target_files` returns them.
        name: of the segmentation, for messages.

    Raises:
        InputError: the folder cannot be written to, or another program has written a file of that name.
    """
    check_writable(output.parent)
    is_earlier_result = is_prediction_report(output.parent / f"{name}.json")
    for path in targets.values():
        if path.exists() and not is_earlier_result:
            raise InputError(f"-o {output}: {path} is no result of magms_predict: move it away, or choose another name")


def publish_results(
    results: Path, targets: dict[str, Path], report: dict, series: Series | None, dataset_json: dict
) -> None:
    """Move complete results to their final paths, the segmentation last, in place of older ones.

    Args:
        results: folder of the results.
        targets: see :func:`target_files`.
        report: content of the JSON.
        series: that a DICOM-SEG refers to; None: no DICOM-SEG is wanted.
        dataset_json: of the model.

    Raises:
        InputError: the segmentation cannot be a DICOM-SEG.
    """
    *beside, (segmentation, final) = targets.items()
    source = results / segmentation
    if final.suffix == DICOM_SEG and series is not None:
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(source)))
        regions = regions_from_dataset_json(dataset_json)
        source = results / f"segmentation{DICOM_SEG}"
        write_segmentation(source, labels, regions, series, dataset_json, report["model"]["name"])
    elif not final.name.endswith(dataset_json["file_ending"]):
        source = results / f"converted_{final.name}"
        sitk.WriteImage(sitk.ReadImage(str(results / segmentation)), str(source), useCompression=True)
    for path in targets.values():
        path.unlink(missing_ok=True)
    for result, path in beside:
        if path.suffix == ".json":
            replace_json(path, report)
        else:
            write_then_rename(path, partial(copyfile, results / result))
    write_then_rename(final, partial(copyfile, source))
    check_written(final)
