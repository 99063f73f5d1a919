"""Finds cases with a reference: those that a fold validates on, or those of two folders."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from magms_nnunet.errors import InputError, InputWarning, listing
from magms_nnunet.images.appearance import Appearance
from magms_nnunet.images.cases import Case, find_cases, visible_files
from magms_nnunet.images.checks import STRICT, InputChecks, check_case, check_segmentation
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.model.model import Fold
from magms_nnunet.model.model_json import read_model_json
from magms_nnunet.nnunet.folders import nnunet_folder
from magms_nnunet.nnunet.raw_dataset import by_channel, file_ending, listed_files
from magms_nnunet.storage.json_files import read_json

RESAMPLE_REFERENCE = "resample it to the images' grid, or correct its header"


@dataclass(frozen=True)
class LabelledCase:
    """A patient's images and the file with its reference segmentation."""

    case: Case
    reference: Path

    def has(self, subsets: Sequence[Subset]) -> list[Subset]:
        """Return the subsets whose modalities the case has."""
        return [subset for subset in subsets if self.case.files.keys() >= set(subset)]


def validation_cases(dataset: str, fold: Fold, modalities: Modalities) -> list[LabelledCase]:
    """Return the cases that a fold of nnU-Net's cross-validation keeps for validation, sorted by name.

    Args:
        dataset: full name of the dataset.
        fold: number of the fold.
        modalities: of the model, which must be those of the dataset.

    Raises:
        InputError: nnU-Net's folders, the split, or files are missing, the dataset has other channels, or its
            dataset.json makes no sense.
    """
    raw, preprocessed = (
        nnunet_folder(f"nnUNet_{kind}", ", or give -i and -l") / dataset for kind in ("raw", "preprocessed")
    )
    dataset_json = _dataset_json(raw, modalities)
    splits = preprocessed / "splits_final.json"
    if fold == "all":
        raise InputError("fold all keeps no case for validation: give -i and -l, images and labels of other cases")
    try:
        names = read_json(splits)[int(fold)]["val"]
        if not names:
            raise LookupError("an empty list")
    except FileNotFoundError:
        raise InputError(f"no {splits}: nnU-Net writes it in training; or give -i and -l") from None
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise InputError(f"{splits} has no validation cases for fold {fold}: give another -f, or -i and -l") from error
    ending = file_ending(raw, dataset_json)
    if "dataset" in dataset_json:
        listed = listed_files(raw, dataset_json)
        cases = {
            name: LabelledCase(Case(name, by_channel(name, images, len(modalities), listed=True)), label)
            for name, (images, label) in listed.items()
        }
    else:
        found, _ = find_cases(raw / "imagesTr", ending)
        cases = {case.name: LabelledCase(case, raw / "labelsTr" / f"{case.name}{ending}") for case in found}
    missing = [name for name in names if name not in cases or not cases[name].reference.is_file()]
    if missing:
        raise InputError(f"fold {fold} validates on cases without images or labels in {raw}: {listing(missing)}")
    return [cases[name] for name in sorted(names)]


def cases_of_folders(images: Path, labels: Path, ending: str, modalities: Modalities) -> list[LabelledCase]:
    """Return all cases of two folders, ``CASE_XXXX.ending`` and ``CASE.ending``, sorted by name.

    Args:
        images: folder of the images.
        labels: folder of the references.
        ending: of the files that the model reads.
        modalities: of the model.

    Raises:
        InputError: a folder or one side of a case is missing, a folder cannot be read, or the images, or the
            dataset.json above them, have other channels.
    """
    cases, misnamed = find_cases(images, ending)
    label_files = visible_files(labels, "label")
    if (images.parent / "dataset.json").is_file():
        _dataset_json(images.parent, modalities)
    if foreign := [path.name for case in cases for m, path in case.files.items() if m >= len(modalities)]:
        raise InputError(
            f"the model has channels 0 to {len(modalities) - 1} ({modalities.listing()}), and {images} has others: "
            f"{listing(foreign)}: give images with the model's channels in its order, and nothing else"
        )
    references = {path.name.removesuffix(ending): path for path in label_files if path.name.endswith(ending)}
    names = {case.name for case in cases}
    differences = {
        f"images without labels in {labels}": sorted(names - references.keys()),
        f"labels without images in {images}": sorted(references.keys() - names),
        f"files in {images} that belong to no case": [path.name for path in misnamed],
        f"images in {images} that do not end in {ending}": [
            path.name for case in cases for path in case.unread.values()
        ],
    }
    if any(differences.values()):
        text = "; ".join(f"{what}: {listing(files)}" for what, files in differences.items() if files)
        raise InputError(f"images and labels must be of the same cases, and nothing was scored. {text}")
    return [LabelledCase(case, references[case.name]) for case in cases]


def scored_cases(
    cases: Sequence[LabelledCase], subsets: Sequence[Subset], modalities: Modalities
) -> list[LabelledCase]:
    """Return the cases that have at least one of the subsets.

    Args:
        cases: to choose from.
        subsets: to predict from.
        modalities: for messages.

    Raises:
        InputError: no case has a subset; the message names it.

    Warns:
        InputWarning: cases lack modalities; the message names those that have none of the subsets.
    """
    if nowhere := [modalities.format(subset) for subset in subsets if not any(case.has([subset]) for case in cases)]:
        raise InputError(f"no case has all of {listing(nowhere)}: give other --subsets, or add the files")
    scored = [labelled for labelled in cases if labelled.has(subsets)]
    if left_out := [labelled.case.name for labelled in cases if not labelled.has(subsets)]:
        text = f"{len(left_out)} of {len(cases)} cases have none of the subsets and are left out: {listing(left_out)}"
        warnings.warn(text, InputWarning, stacklevel=2)
    if lacking := sum(labelled.has(subsets) != list(subsets) for labelled in scored):
        text = f"{lacking} of {len(scored)} cases lack modalities: each subset is scored on the cases that have it"
        warnings.warn(text, InputWarning, stacklevel=2)
    return scored


def check_labelled_files(
    labelled: LabelledCase,
    subset: Subset,
    modalities: Modalities,
    checks: InputChecks = STRICT,
    *,
    volumes: bool = False,
    appearance: Appearance | None = None,
) -> None:
    """Check a case's images of a subset and its reference: complete files, on one grid.

    Args:
        labelled: the case.
        subset: the channels to look at.
        modalities: for messages.
        checks: which inputs are accepted.
        volumes: whether the model reads volumes.
        appearance: of the model's training images, to notice files that were mistaken for each other.

    Raises:
        CaseError: names the file, and its modality or ``reference``.

    Warns:
        InputWarning: an image has an unusual appearance for its modality, or an input was accepted by request.
    """
    checked = check_case(labelled.case, subset, modalities, checks, volumes=volumes, appearance=appearance)
    for text in checked.warnings:
        warnings.warn(f"{labelled.case.name}: {text}", InputWarning, stacklevel=2)
    label = f"{labelled.reference.name} (reference)"
    check_segmentation(labelled.case, subset, labelled.reference, checks, label, RESAMPLE_REFERENCE)


def _dataset_json(folder: Path, modalities: Modalities) -> dict:
    try:
        dataset_json = read_model_json(folder / "dataset.json")
    except InputError:
        raise InputError(f"no readable dataset.json in {folder}: the cases to evaluate on must be there") from None
    names = Modalities.from_dataset_json(dataset_json).names
    if names != modalities.names:
        raise InputError(
            f"the model reads {modalities.listing()}, the dataset in {folder} has {', '.join(names)}: "
            "evaluate on a dataset with the same channel_names in the same order"
        )
    return dataset_json
