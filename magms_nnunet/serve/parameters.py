"""Parameters of a request that are the flags of ``magms_predict --dicom``."""

from typing import Annotated, Literal

from fastapi import Query

from magms_nnunet.serve.problems import Problem
from magms_nnunet.serve.study import StudyFlags

_SERIES = "of a study: NAME=UID or NAME=NUMBER, may be repeated"
_MODALITIES = "of a study: predict from these alone, may be repeated"
_GRID = "of a study: the modality or the spacing in mm that all images are resampled to"
_REGISTER = "of a study: move the other images to that of the grid first"


def study_flags(
    series: Annotated[list[str] | None, Query(description=_SERIES)] = None,
    modalities: Annotated[list[str] | None, Query(description=_MODALITIES)] = None,
    output_type: Annotated[
        Literal["nifti", "dicom-seg"], Query(alias="output-type", description="of a study")
    ] = "nifti",
    grid: Annotated[str | None, Query(description=_GRID)] = None,
    register: Annotated[Literal["rigid"] | None, Query(description=_REGISTER)] = None,
) -> StudyFlags:
    """Make the flags of ``magms_predict --dicom`` from the parameters of a request.

    Args:
        series: ``NAME=UID`` or ``NAME=NUMBER``.
        modalities: to predict from; None: all that the study has.
        output_type: of the segmentation.
        grid: that all images are resampled to.
        register: method of the registration.

    Raises:
        Problem: the parameters contradict each other.
    """
    if register and grid is None:
        raise Problem(422, "register needs grid, which says to what the others are moved")
    wanted = None if modalities is None else tuple(modalities)
    return StudyFlags(tuple(series or ()), wanted, output_type == "dicom-seg", grid, register is not None)
