"""Checks of the voxels of a case's images, before the model is loaded: empty, damaged, or of another modality."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from magms_nnunet.errors import CaseError, InputError
from magms_nnunet.images.appearance import Appearance
from magms_nnunet.images.cases import OR_ALLOW_TWO_POSITIONS, Case, check_files
from magms_nnunet.images.files import ImageFileError, Voxels, read_array, read_grid, read_image_file
from magms_nnunet.images.grid import GEOMETRY_TOLERANCE, Grid, check_one_position, check_same_grid, contradiction
from magms_nnunet.modalities import Modalities, Subset

_LABELS = 32  # an image with no more different values than this, all whole numbers, is probably a label map

# What nnU-Net's normalisation in single precision can take: the sum of the squares must not overflow, and standard
# deviations below 1e-8 count as 1e-8.
_LARGEST, _NARROWEST = 1e15, 1e-6
_DOMINANT = 1000  # times the range of nearly all voxels; values beyond it take the contrast from all others


@dataclass(frozen=True)
class InputChecks:
    """Which inputs are accepted that are refused by default.

    Attributes:
        geometry_tolerance: largest distance between the positions of one voxel in two files of a case, in voxels.
        treat_empty_as_missing: a modality of one value everywhere is left out, with a warning.
        allow_identical: the same image may be given as two modalities.
        nan_to_zero: NaN and infinite voxels count as 0.
        allow_two_positions: where the forms in a NIfTI header contradict each other, SimpleITK's choice is taken.
    """

    geometry_tolerance: float = GEOMETRY_TOLERANCE
    treat_empty_as_missing: bool = False
    allow_identical: bool = False
    nan_to_zero: bool = False
    allow_two_positions: bool = False

    def __post_init__(self):
        if not (math.isfinite(self.geometry_tolerance) and self.geometry_tolerance >= 0):
            raise InputError(f"--geometry-tolerance must be 0 or more voxels, got {self.geometry_tolerance}")


STRICT = InputChecks()


@dataclass(frozen=True)
class CheckedCase:
    """The modalities of a case that passed the checks.

    Attributes:
        subset: the modalities to use.
        empty: modalities whose image holds one value everywhere.
        warnings: sentences, each naming its file.
    """

    subset: Subset
    empty: Subset
    warnings: tuple[str, ...]


def check_case(
    case: Case,
    subset: Subset,
    modalities: Modalities,
    checks: InputChecks,
    *,
    volumes: bool = False,
    appearance: Appearance | None = None,
) -> CheckedCase:
    """Check the files and the voxels of a subset, and of no other modality.

    Args:
        case: the files.
        subset: the channels to look at.
        modalities: for messages.
        checks: which inputs are accepted.
        volumes: whether the model reads volumes; see :func:`magms_nnunet.images.cases.check_files`.
        appearance: of the model's training images, to notice files that were mistaken for each other.

    Raises:
        CaseError: names the file, its modality and what is wrong.
    """
    contents = check_files(
        case,
        subset,
        modalities,
        geometry_tolerance=checks.geometry_tolerance,
        allow_two_positions=checks.allow_two_positions,
        volumes=volumes,
    )
    voxels = {channel: found for channel, (_, found) in contents.items()}
    warnings = list(_positions(case, {channel: grid for channel, (grid, _) in contents.items()}, modalities, checks))
    warnings += _nonfinite(case, voxels, modalities, checks)
    empty = tuple(channel for channel, found in voxels.items() if found.minimum == found.maximum)
    warnings += _ranges(case, {channel: voxels[channel] for channel in voxels.keys() - set(empty)}, modalities)
    warnings += _empty(case, {channel: voxels[channel] for channel in empty}, modalities, checks)
    subset = tuple(channel for channel in subset if channel not in empty)
    if not subset:
        raise CaseError(case.name, f"nothing is left to predict from: {'; '.join(warnings)}")
    if not checks.allow_identical:
        _check_distinct(case, {channel: found for channel, found in voxels.items() if channel in subset}, modalities)
    voxels = {channel: found for channel, found in voxels.items() if channel in subset}
    label_maps = dict(_label_maps(voxels))
    warnings += [
        f"{case.label(channel, modalities)} holds {labels} different whole numbers only: is it a label map?"
        for channel, labels in label_maps.items()
    ]
    if appearance is not None:
        images = {channel: contents[channel] for channel in voxels if channel not in label_maps}
        warnings += _appearances(case, images, modalities, appearance)
    return CheckedCase(subset, empty, tuple(warnings))


def check_previous_stage(case: Case, subset: Subset, path: Path, checks: InputChecks) -> None:
    """Check the segmentation by a previous stage: a complete file, on the grid of the case's images.

    Args:
        case: the images.
        subset: channels, of which the first is compared.
        path: of the segmentation.
        checks: which inputs are accepted.

    Raises:
        CaseError: names the file and what is wrong.
    """
    label = f"{path.name} of the previous stage"
    check_segmentation(case, subset, path, checks, label, "predict that stage from these images")


def check_segmentation(case: Case, subset: Subset, path: Path, checks: InputChecks, label: str, remedy: str) -> None:
    """Check the file of a segmentation: complete, and on the grid of the case's images.

    Args:
        case: the images.
        subset: channels, of which the first is compared.
        path: of the segmentation.
        checks: which inputs are accepted.
        label: name of the file in the message.
        remedy: for a segmentation on another grid.

    Raises:
        CaseError: names the file and what is wrong.
    """
    try:
        content = read_image_file(path)
    except ImageFileError as error:
        raise CaseError(case.name, f"{label} {error}") from error
    if content is None:
        return
    if content[1].nonfinite:
        voxels = f"{content[1].nonfinite} NaN or infinite voxels"
        raise CaseError(case.name, f"{label} holds {voxels}: repair it, or make it again")
    first = case.files[subset[0]]
    grid, grid_of_images = content[0], read_grid(first)
    if checks.allow_two_positions:  # a segmentation of an image with two positions lies where SimpleITK reads the image
        grid, grid_of_images = replace(grid, forms={}), replace(grid_of_images, forms={})
    else:
        check_one_position(case.name, label, grid, checks.geometry_tolerance, OR_ALLOW_TWO_POSITIONS)
    first_label = case.labels.get(subset[0], first.name)
    check_same_grid(case.name, label, grid, first_label, grid_of_images, checks.geometry_tolerance, remedy)


def _positions(case: Case, grids: dict[int, Grid], modalities: Modalities, checks: InputChecks) -> Iterator[str]:
    """Yield sentences on NIfTI headers that describe two positions, where that is accepted, or none."""
    for channel, grid in grids.items():
        if problem := contradiction(grid, checks.geometry_tolerance):
            yield f"{case.label(channel, modalities)} {problem}: the result lies where SimpleITK reads it"
    if unplaced := [case.label(channel, modalities) for channel, grid in grids.items() if not grid.is_placed]:
        which = f"{', '.join(unplaced)} {'say' if len(unplaced) > 1 else 'says'}"
        yield f"{which} nothing of the position (sform and qform codes are 0): check left and right in the result"


def _nonfinite(case: Case, voxels: dict[int, Voxels], modalities: Modalities, checks: InputChecks) -> Iterator[str]:
    """Yield sentences on NaN and infinite voxels where they are accepted; raise CaseError where they are not."""
    for channel, found in voxels.items():
        label = case.label(channel, modalities)
        if not found.nonfinite:
            continue
        if not checks.nan_to_zero:
            raise CaseError(
                case.name,
                f"{label} holds {found.nonfinite} NaN or infinite voxels: repair it, leave {modalities.names[channel]} "
                "out, or count them as 0 with --nan-to-zero",
            )
        yield f"{label} holds {found.nonfinite} NaN or infinite voxels, which count as 0"


def _ranges(case: Case, voxels: dict[int, Voxels], modalities: Modalities) -> Iterator[str]:
    """Yield sentences on images with a few extreme voxels; raise CaseError where normalisation would spoil an image."""
    for channel, found in voxels.items():
        label = case.label(channel, modalities)
        if problem := unusable_range(found):
            raise CaseError(case.name, f"{label} {problem}")
        if _is_dominated(found):
            limits = f"{found.minimum:g} to {found.maximum:g}"
            yield f"{label} has few voxels that are far beyond all others ({limits}): is it damaged?"


def _empty(case: Case, voxels: dict[int, Voxels], modalities: Modalities, checks: InputChecks) -> Iterator[str]:
    """Yield sentences on images of one value where they count as missing; raise CaseError where they do not."""
    for channel, found in voxels.items():
        label, name = case.label(channel, modalities), modalities.names[channel]
        if not checks.treat_empty_as_missing:
            raise CaseError(
                case.name,
                f"{label} {_emptiness(found)}: replace it, leave {name} out of --modalities, or let "
                "--treat-empty-as-missing do that",
            )
        yield f"{label} {_emptiness(found)}: predicted without {name}"


def unusable_range(voxels: Voxels) -> str | None:
    """Return the reason why normalisation would spoil an image that is not constant; None: it would not."""
    largest = max(abs(voxels.minimum), abs(voxels.maximum))
    if not largest <= _LARGEST:
        return f"holds values as large as {largest:g}: repair it, or scale it to values below {_LARGEST:g}"
    if voxels.maximum - voxels.minimum < _NARROWEST:
        extent = voxels.maximum - voxels.minimum
        return f"holds values that differ by {extent:g} at the most: give it in another unit, scaled by a constant"
    return None


def _is_dominated(voxels: Voxels) -> bool:
    low, high = np.quantile(voxels.sample, (0.001, 0.999))
    return high > low and max(voxels.maximum - low, high - voxels.minimum) > _DOMINANT * (high - low)


def _emptiness(voxels: Voxels) -> str:
    return "holds only zeros" if voxels.minimum == 0 else f"holds only the value {voxels.minimum:g}"


def _check_distinct(case: Case, voxels: dict[int, Voxels], modalities: Modalities) -> None:
    """Raise CaseError where two images are the same; they are compared as a whole only where their samples agree."""
    for one, other in combinations(voxels, 2):
        if np.array_equal(voxels[one].sample, voxels[other].sample) and np.array_equal(
            read_array(case.files[one]), read_array(case.files[other])
        ):
            labels = (case.label(channel, modalities) for channel in (one, other))
            raise CaseError(
                case.name,
                f"{' and '.join(labels)} are the same image: give each modality's own, or say that it is meant with "
                "--allow-identical",
            )


def _label_maps(voxels: dict[int, Voxels]) -> Iterator[tuple[int, int]]:
    """Yield channels with few different values, all of them whole numbers, and how many there are."""
    for channel, found in voxels.items():
        values = np.unique(found.sample)
        if len(values) <= _LABELS and (values == np.round(values)).all():
            yield channel, len(values)


def _appearances(
    case: Case, images: dict[int, tuple[Grid, Voxels]], modalities: Modalities, appearance: Appearance
) -> Iterator[str]:
    """Yield sentences on files that look like another modality than their own, or like none, or fill more than any."""
    voxels = {channel: found for channel, (_, found) in images.items()}
    if (like := appearance.all_resemble(voxels)) is not None:
        numbers = ", ".join(f"{channel:04d}" for channel in voxels)
        yield f"the images of {numbers} all look like {modalities.names[like]}: are these the numbers of patients?"
        return
    strange = appearance.unlike_all(voxels)
    similar = {channel: found for channel, found in voxels.items() if channel not in strange}
    yield from _mistaken(case, appearance.mistaken(similar), modalities)
    for channel in strange:
        label = case.label(channel, modalities)
        yield f"{label} looks like none of {modalities.listing()}: is it of another organ or kind, or padded?"
    for channel, ml in appearance.overfull({channel: images[channel] for channel in similar}).items():
        yield (
            f"{case.label(channel, modalities)} fills {ml:.0f} ml, no training image of {modalities.names[channel]} "
            f"more than {appearance.largest_ml[channel]:.0f} ml: are skull or air still in it? Prepare it as these were"
        )


def _mistaken(case: Case, mistaken: dict[int, int], modalities: Modalities) -> Iterator[str]:
    """Yield sentences on files that look like another modality; one for two that look swapped."""
    for given, like in sorted(mistaken.items()):
        label, name = case.label(given, modalities), modalities.names[like]
        if mistaken.get(like) != given:
            yield f"{label} looks like {name}: is it the file of another modality?"
        elif given < like:
            other = f"{case.label(like, modalities)} like {modalities.names[given]}"
            yield f"{label} looks like {name} and {other}: are they swapped?"
