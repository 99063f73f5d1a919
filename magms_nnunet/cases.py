"""The files of a case: find them, choose among them, check them. Loads neither torch nor voxels."""

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magms_nnunet.errors import CaseError, InputError
from magms_nnunet.modalities import Modalities, Subset

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Case:
    """A patient's images: ``NAME_XXXX.ending``, XXXX the channel in four digits, as everywhere in nnU-Net.

    Attributes:
        name: without channel and ending.
        files: channel -> path.
    """

    name: str
    files: dict[int, Path]


def find_cases(folder: Path, file_ending: str) -> tuple[list[Case], list[Path]]:
    """All cases of a folder, sorted by name, whatever channels they have; and files of that kind that are misnamed.

    Raises:
        InputError: the folder does not exist or holds no such file.
    """
    if not folder.is_dir():
        raise InputError(f"input folder {folder} does not exist")
    pattern = re.compile(rf"(?P<name>.+)_(?P<channel>\d{{4}}){re.escape(file_ending)}")
    found: dict[str, dict[int, Path]] = {}
    misnamed = []
    for path in sorted(folder.iterdir()):
        match = pattern.fullmatch(path.name)
        if match:
            found.setdefault(match["name"], {})[int(match["channel"])] = path
        elif path.name.endswith(file_ending):
            misnamed.append(path)
    if not found:
        raise InputError(f"no images in {folder}: files must be named CASE_XXXX{file_ending}, XXXX being the channel")
    return [Case(name, found[name]) for name in sorted(found)], misnamed


def choose_modalities(case: Case, requested: Subset | None, modalities: Modalities, file_ending: str) -> Subset:
    """The modalities to predict a case from: exactly the requested ones, or all that it has.

    Raises:
        CaseError: a requested file is missing, or, with none requested, there is a channel the model does not know.
    """
    if requested is None:
        unknown = [channel for channel in case.files if channel >= len(modalities)]
        if unknown:
            raise CaseError(
                case.name,
                f"{case.files[unknown[0]].name} is channel {unknown[0]}, but the model has channels 0 to "
                f"{len(modalities) - 1} ({modalities.listing()}): remove the file or name the --modalities to use",
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


def check_files(case: Case, subset: Subset, modalities: Modalities) -> None:
    """Check the files of a subset, and only those: readable to the end, one 3-D or 2-D image each, the same grid.

    Only formats that SimpleITK reads are looked into; nnU-Net's other readers check for themselves.

    Raises:
        CaseError: names the file, its modality and what is wrong.
    """
    first: tuple[str, tuple, tuple, tuple] | None = None
    for channel in subset:
        path = case.files[channel]
        label = f"{path.name} ({modalities.names[channel]})"
        length = _length_bytes(case, path, label)
        if path.name.endswith((".tif", ".tiff", ".png", ".bmp", ".jpg")):
            continue
        size, spacing_mm, direction = _read_grid(case, path, label)
        if path.name.endswith((".nii", ".nii.gz")):
            _check_nifti_length(case, path, label, length)
        if first is None:
            first = label, size, spacing_mm, direction
        elif size != first[1]:
            raise CaseError(
                case.name,
                f"{label} has {_times(size)} voxels, {first[0]} has {_times(first[1])}: resample them to one grid",
            )
        elif not np.allclose(spacing_mm, first[2], rtol=1e-5):  # nnU-Net's reader is as strict
            raise CaseError(
                case.name,
                f"{label} has a spacing of {_times(spacing_mm)} mm, {first[0]} of {_times(first[2])} mm: "
                "resample them to one grid",
            )
        elif not np.allclose(direction, first[3], atol=1e-3):
            raise CaseError(
                case.name,
                f"{label} is oriented otherwise than {first[0]} (direction cosines {_list(direction)} and "
                f"{_list(first[3])}): resample them to one grid",
            )


def _length_bytes(case: Case, path: Path, label: str) -> int:
    """Uncompressed length; a compressed stream is read to the end, where its checksum is."""
    try:
        length = path.stat().st_size
        if length == 0:
            raise CaseError(case.name, f"{label} is empty (0 bytes): copy it again")
        if path.name.endswith(".gz"):
            length = 0
            with gzip.open(path) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    length += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CaseError(case.name, f"{label} is truncated or damaged ({error}): copy it again") from error
    except OSError as error:
        raise CaseError(case.name, f"{label} cannot be read ({error.strerror or error})") from error
    return length


def _check_nifti_length(case: Case, path: Path, label: str, length_bytes: int) -> None:
    """SimpleITK reads a NIfTI file that ends too early as an image that ends in zeros."""
    import nibabel

    try:
        voxels = nibabel.load(path).dataobj
    except Exception as error:  # it has many of its own
        raise CaseError(case.name, f"{label} has a NIfTI header that cannot be read ({error})") from error
    needed_bytes = voxels.offset + int(np.prod(voxels.shape, dtype=np.int64)) * voxels.dtype.itemsize
    if length_bytes < needed_bytes:
        raise CaseError(
            case.name,
            f"{label} is shorter than its header says ({length_bytes} of {needed_bytes} bytes): copy it again",
        )


def _read_grid(case: Case, path: Path, label: str) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Size in voxels and spacing in mm, both in SimpleITK's order (x, y, z), and the direction cosines."""
    import SimpleITK as sitk  # 0.2 s that `--help` need not wait for

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise CaseError(case.name, f"{label} is not an image that SimpleITK can read: replace it") from error
    size, spacing_mm = reader.GetSize(), reader.GetSpacing()
    if len(size) not in (2, 3):
        raise CaseError(
            case.name, f"{label} is {len(size)}-D ({_times(size)}): give one 3-D image per modality and file"
        )
    if reader.GetNumberOfComponents() != 1:
        raise CaseError(
            case.name,
            f"{label} has {reader.GetNumberOfComponents()} values per voxel (RGB or a vector image): "
            "give a greyscale image",
        )
    return size, spacing_mm, reader.GetDirection()


def _list(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def _times(values: Sequence[float]) -> str:
    return "x".join(f"{value:g}" for value in values)
