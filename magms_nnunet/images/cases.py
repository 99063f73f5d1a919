"""The files of a case: find them, choose among them, check them. Needs no torch."""

import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from magms_nnunet.errors import CaseError, InputError, InputWarning, format_size, listing
from magms_nnunet.images.files import ImageFileError, Voxels, read_header, read_image_file
from magms_nnunet.images.grid import (
    GEOMETRY_TOLERANCE,
    MAKE_FORMS_AGREE,
    Grid,
    check_one_position,
    check_same_grid,
)
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.storage.files import UNFINISHED, folder_error, is_hidden

OR_ALLOW_TWO_POSITIONS = f"{MAKE_FORMS_AGREE}, or take what SimpleITK reads with --allow-two-positions"
_FILES_AT_ONCE = 2  # some formats are read as a whole, so more would take more memory

# A model reads files with one ending; those with another of these are images, too, and must not be overlooked.
_VOLUME_ENDINGS = (
    *(".nii.gz", ".nii", ".img.gz", ".hdr.gz", ".img", ".hdr", ".nrrd", ".nhdr"),
    *(".mha", ".mhd", ".mgz", ".mgh", ".mnc", ".gipl.gz", ".gipl"),
)
_NIFTI_NAMES = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz", ".nia", ".nia.gz")
_HALVES = {".hdr": (".img",), ".img": (".hdr",)}  # of one image
_IMAGE_ENDINGS = (*_VOLUME_ENDINGS, ".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True)
class Case:
    """A patient's images: ``NAME_XXXX.ending``, XXXX the channel in four digits, as everywhere in nnU-Net.

    Attributes:
        name: without channel and ending.
        files: channel -> path.
        unread: channel -> path of an image whose ending the model does not read.
        labels: channel -> name of the image in messages, where the user did not give the file itself.
    """

    name: str
    files: dict[int, Path]
    unread: dict[int, Path] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)

    def label(self, channel: int, modalities: Modalities) -> str:
        """Return a file and its modality, for messages: ``p1_0002.nii.gz (T1c)``."""
        return self.labels.get(channel) or f"{self.files[channel].name} ({modalities.names[channel]})"


def visible_files(folder: Path, kind: str) -> list[Path]:
    """Return the content of a folder, sorted, without hidden files; ``kind`` of folder is for messages.

    Raises:
        InputError: the folder does not exist, is a file, or cannot be read.

    Warns:
        InputWarning: a hidden file is named like an image; macOS writes such files beside those that it copies.
    """
    try:
        if folder.is_dir():
            paths = sorted(folder.iterdir())
            hidden = [path.name for path in paths if is_hidden(path) and path.name.lower().endswith(_IMAGE_ENDINGS)]
            if ignored := [name for name in hidden if not name.startswith(UNFINISHED)]:
                text = f"{kind} folder {folder}: hidden files are passed over ({listing(ignored, 1)})"
                warnings.warn(text, InputWarning, stacklevel=2)
            return [path for path in paths if not is_hidden(path)]
    except OSError as error:
        raise InputError(
            f"{kind} folder {folder} cannot be read ({error.strerror}): get permission, or copy it"
        ) from error
    raise folder_error(kind, folder)


def find_cases(folder: Path, file_ending: str) -> tuple[list[Case], list[Path]]:
    """Return all cases of a folder, sorted by name, whatever channels they have, and the misnamed files of that ending.

    Raises:
        InputError: the folder does not exist, is a file, cannot be read, or holds no such file.
    """
    paths = visible_files(folder, "input")
    other_half = _HALVES.get(file_ending, ())
    endings = "|".join(re.escape(end) for end in (file_ending, *_IMAGE_ENDINGS) if end not in other_half)
    pattern = re.compile(rf"(?P<name>.+)_(?P<channel>[0-9]{{4}})(?P<ending>{endings})", re.IGNORECASE)
    found: dict[str, Case] = {}
    misnamed = sorted(folder.glob(f"{UNFINISHED}*_[0-9][0-9][0-9][0-9]{file_ending}"))  # no leftover: it has a channel
    for path in paths:
        match = pattern.fullmatch(path.name)
        if match:
            case = found.setdefault(match["name"], Case(match["name"], {}))
            files = case.files if match["ending"] == file_ending else case.unread
            files[int(match["channel"])] = path
        elif path.name.lower().endswith((file_ending.lower(), *_VOLUME_ENDINGS)) and path.suffix not in other_half:
            misnamed.append(path)
    if not any(case.files for case in found.values()):
        others = [path.name for case in found.values() for path in case.unread.values()]
        raise InputError(
            f"no images in {folder}: files must be named CASE_XXXX{file_ending}, XXXX being the channel"
            + (f"; {others[0]} is not: {_remedy(others[0], file_ending)}" if others else "")
        )
    return [found[name] for name in sorted(found)], misnamed


def _remedy(name: str, file_ending: str) -> str:
    return "rename it" if name.lower().endswith(file_ending.lower()) else f"convert it to {file_ending}"


def check_result_name(case: Case, file_ending: str) -> None:
    """Raise CaseError where SimpleITK would write a result under another name: ``scan.nii`` + ``.nii.gz``."""
    if file_ending in (".nii", ".nii.gz") and case.name.lower().endswith(_NIFTI_NAMES):
        ending = f".{case.name.rpartition('.')[2]}"
        raise CaseError(
            case.name,
            f"its name ends in {ending}, so that SimpleITK would write {case.name}{file_ending} under another name: "
            "rename its files",
        )


def choose_modalities(case: Case, requested: Subset | None, modalities: Modalities, file_ending: str) -> Subset:
    """Return the modalities to predict a case from: exactly the requested ones, or all that it has.

    Args:
        case: the files.
        requested: None: all that the case has.
        modalities: of the model.
        file_ending: of the files that the model reads.

    Raises:
        CaseError: one of these files is missing or has an ending that the model does not read, or, with none requested,
            the case has a channel that the model lacks.
    """
    for channel, path in case.unread.items():
        if requested is None or channel in requested:
            modality = f" ({modalities.names[channel]})" if channel < len(modalities) else ""
            raise CaseError(
                case.name,
                f"{path.name}{modality} would be overlooked, as the model reads {file_ending}: "
                f"{_remedy(path.name, file_ending)}, or move it away",
            )
    if requested is None:
        unknown = [channel for channel in case.files if channel >= len(modalities)]
        if unknown:
            raise CaseError(
                case.name,
                f"{case.files[unknown[0]].name} is channel {unknown[0]}, but the model has channels 0 to "
                f"{len(modalities) - 1} ({modalities.listing()}): remove the file or name the --modalities to use; "
                f"where {unknown[0]:04d} is the number of a patient, put the channel behind it, as in "
                f"{case.name}_{unknown[0]:04d}_0000{file_ending}",
            )
        return tuple(sorted(case.files))
    for channel in requested:
        if channel not in case.files:
            present = modalities.format(c for c in sorted(case.files) if c < len(modalities)) or "nothing"
            raise CaseError(
                case.name,
                f"{modalities.names[channel]} is missing (no {case.name}_{channel:04d}{file_ending}): add the file, or "
                f"predict this case from what it has ({present}) with other --modalities",
            )
    return requested


def check_files(
    case: Case,
    subset: Subset,
    modalities: Modalities,
    *,
    geometry_tolerance: float = GEOMETRY_TOLERANCE,
    allow_two_positions: bool = False,
    volumes: bool = False,
) -> dict[int, tuple[Grid, Voxels]]:
    """Check the files of a subset, and only those: complete, one image each, on one grid.

    Only formats that SimpleITK reads are examined; nnU-Net's other readers have checks of their own.

    Args:
        case: the files.
        subset: the channels to look at.
        modalities: for messages.
        geometry_tolerance: largest distance between the positions of one voxel in two of them, in voxels.
        allow_two_positions: whether the forms in a NIfTI header may lie further apart.
        volumes: whether the model reads volumes, so that a 2-D image or a single slice is a mistake.

    Returns:
        Channel -> grid and summary of the voxels, of the files that SimpleITK reads.

    Raises:
        CaseError: names the file, its modality and what is wrong.
    """
    first: tuple[str, Grid] | None = None
    contents = {}
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:  # decompression does not hold Python's lock
        reading = {channel: threads.submit(read_image_file, case.files[channel]) for channel in subset}
    for channel in subset:
        label = case.label(channel, modalities)
        try:
            content = reading[channel].result()
        except ImageFileError as error:
            raise CaseError(case.name, f"{label} {error}") from error
        if content is None:
            continue
        grid, contents[channel] = content[0], content
        first = first or (label, grid)
        _check_grid(case.name, label, grid, first, geometry_tolerance, allow_two_positions, volumes)
    return contents


def check_headers(
    case: Case,
    subset: Subset,
    modalities: Modalities,
    *,
    geometry_tolerance: float = GEOMETRY_TOLERANCE,
    allow_two_positions: bool = False,
    volumes: bool = False,
) -> None:
    """Check the headers of the files of a subset, as :func:`check_files` does, without reading voxels.

    Args:
        case: the files.
        subset: the channels to look at.
        modalities: for messages.
        geometry_tolerance: largest distance between the positions of one voxel in two of them, in voxels.
        allow_two_positions: whether the forms in a NIfTI header may lie further apart.
        volumes: whether the model reads volumes, so that a 2-D image or a single slice is a mistake.

    Raises:
        CaseError: names the file, its modality and what is wrong.
    """
    first: tuple[str, Grid] | None = None
    grids: dict[bytes, Grid] = {}  # the images of a patient often share a grid
    for channel in subset:
        label = case.label(channel, modalities)
        try:
            grid = read_header(case.files[channel], grids)
        except ImageFileError as error:
            raise CaseError(case.name, f"{label} {error}") from error
        if grid is not None:
            first = first or (label, grid)
            _check_grid(case.name, label, grid, first, geometry_tolerance, allow_two_positions, volumes)


def _check_grid(
    case: str,
    label: str,
    grid: Grid,
    first: tuple[str, Grid],
    geometry_tolerance: float,
    allow_two_positions: bool,
    volumes: bool,
) -> None:
    if volumes and (len(grid.size) == 2 or min(grid.size) == 1):
        kind = "2-D" if len(grid.size) == 2 else "a single slice"
        raise CaseError(
            case, f"{label} is {kind} ({format_size(grid.size)}): this model reads 3-D images, give the whole volume"
        )
    if not allow_two_positions:
        check_one_position(case, label, grid, geometry_tolerance, OR_ALLOW_TWO_POSITIONS)
    check_same_grid(case, label, grid, *first, geometry_tolerance)
