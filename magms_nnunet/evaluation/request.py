"""The request of ``magms_evaluate``, and its checks before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from magms_nnunet.errors import InputError
from magms_nnunet.evaluation.labelled_cases import LabelledCase, cases_of_folders, validation_cases
from magms_nnunet.images.checks import InputChecks
from magms_nnunet.inference.request import ModelRequest, WindowRequest
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.model.model import TrainedModel

MASKED = "masked"  # a protocol; the other is "absent"


@dataclass(frozen=True)
class EvaluationRequest:
    """The flags of ``magms_evaluate``; images and labels are given together or not at all."""

    output: Path
    model: ModelRequest
    window: WindowRequest
    images: Path | None
    labels: Path | None
    subsets: tuple[str, ...] | None
    checks: InputChecks
    protocol: str
    previous_stage: Path | None
    save_segmentations: bool
    attach: bool
    preprocessing_processes: int
    export_processes: int
    part: int
    parts: int
    progress_bar: bool
    command: str


def parse_subsets(tokens: Sequence[str] | None, modalities: Modalities) -> list[Subset] | None:
    """Read the subsets of ``--subsets``, in the order of a sweep; None: all."""
    if tokens is None:
        return None
    chosen = {modalities.parse(token.split("+")) for token in tokens}
    return [subset for subset in modalities.subsets() if subset in chosen]


def find_labelled_cases(
    request: EvaluationRequest, dataset_json: dict, modalities: Modalities, dataset: str
) -> list[LabelledCase]:
    """Return the cases of ``-i`` and ``-l``, or those that the fold validates on.

    Args:
        request: the flags.
        dataset_json: of the model.
        modalities: of the model.
        dataset: full name of the dataset that the model was trained on.
    """
    if request.images is not None and request.labels is not None:
        return cases_of_folders(request.images, request.labels, dataset_json["file_ending"], modalities)
    if len(request.model.folds) != 1:
        raise InputError("each fold validates on cases of its own: give one -f, or -i and -l")
    return validation_cases(dataset, request.model.folds[0], modalities)


def check_previous_stage_folder(model: TrainedModel, folder: Path | None, subsets: Sequence[Subset]) -> None:
    """Check that a cascade is given the segmentations by its previous stage, and no other model any.

    Args:
        model: to evaluate.
        folder: of these segmentations, with a folder per subset; None: none is given.
        subsets: to predict from.

    Raises:
        InputError: the folder is missing, lacks a subset, or is given to a model without a previous stage.
    """
    if not model.is_cascaded:
        if folder is not None:
            raise InputError(f"{model.configuration} has no previous stage: leave out -prev_stage_predictions")
        return
    if folder is None:
        raise InputError(
            f"{model.configuration} is a cascade: evaluate its previous stage with --save_segmentations, and give its "
            "segmentations folder as -prev_stage_predictions"
        )
    names = map(model.modalities.format, subsets)
    if missing := [name for name in names if not (folder / name).is_dir()]:
        raise InputError(
            f"-prev_stage_predictions {folder} has no folder {', '.join(missing)}: give the segmentations folder that "
            "magms_evaluate --save_segmentations made of the previous stage"
        )
