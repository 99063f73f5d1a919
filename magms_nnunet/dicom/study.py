"""Finds the series of a study by the headers of its files, and the reasons why some are no volume."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from magms_nnunet.dicom.enhanced import frame_headers
from magms_nnunet.dicom.stack import stack_problem
from magms_nnunet.errors import InputError
from magms_nnunet.storage.files import folder_error, is_hidden

if TYPE_CHECKING:
    from pydicom import Dataset

_MR = "1.2.840.10008.5.1.4.1.1.4"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_ENHANCED = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")  # also converted from plain images
_RT = "1.2.840.10008.5.1.4.1.1.481."
_MAPS = {
    "ADC",
    "FA",
    "TRACEW",
    "EXP",
    "PROJECTION IMAGE",
    "MIP",
    "MNIP",
    "PHASE",
    "P",
    "T1 MAP",
    "T2 MAP",
    "CBF",
    "CBV",
}


@dataclass(frozen=True)
class Series:
    """The images of one SeriesInstanceUID.

    Attributes:
        uid: of the series.
        files: of a volume, in the order of the slices; one file for a multi-frame image.
        headers: of the slices, without pixels, in the same order.
        problem: reason why the series cannot be used, as the end of a sentence; None: it is a volume.
        frames: frame of each slice, from 0, in a multi-frame image; None: each slice is a file.
    """

    uid: str
    files: tuple[Path, ...]
    headers: tuple["Dataset", ...]
    problem: str | None
    frames: tuple[int, ...] | None = None

    @property
    def number(self) -> str:
        """Number of the series in the study."""
        return str(self.headers[0].get("SeriesNumber", "") or "-")

    @property
    def description(self) -> str:
        """Description by the scanner."""
        return str(self.headers[0].get("SeriesDescription", "") or self.headers[0].get("ProtocolName", ""))


def find_series(study: Path) -> list[Series]:
    """Find all series of a folder and the folders in it, sorted by number; the names of files are not used.

    Raises:
        InputError: the path is no folder or holds no DICOM, a file is damaged or encrypted, or there are several
            patients or studies.
    """
    if not study.is_dir():
        raise folder_error("--dicom", study)
    found: dict[str, list[tuple[Path, Dataset]]] = {}
    for path, header in _headers(study):
        found.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    if not found:
        raise InputError(f"no DICOM in {study}: give the folder that holds the study")
    every = [header for images in found.values() for _, header in images]
    _check_one(study, every, "patients", "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")
    _check_one(study, every, "studies", "StudyInstanceUID")
    series = [_series(uid, images) for uid, images in found.items()]
    return sorted(series, key=lambda one: (one.number.zfill(12), one.uid))


def _headers(study: Path) -> Iterator[tuple[Path, "Dataset"]]:
    """Yield the DICOM files and their headers."""
    pydicom = require_pydicom()
    for folder, folders, names in os.walk(study):
        folders[:] = sorted(name for name in folders if not is_hidden(Path(name)))
        for path in (Path(folder) / name for name in sorted(names)):
            if is_hidden(path) or path.name.upper() == "DICOMDIR" or not path.is_file() or not _is_dicom(path):
                continue
            try:
                with open(path, "rb") as file, _quiet_pydicom():
                    header = pydicom.dcmread(file, stop_before_pixels=True)
                    left = path.stat().st_size - file.tell()
                    header.decode()
                missing = [keyword for keyword in ("SOPClassUID", "SeriesInstanceUID") if keyword not in header]
                size = _pixel_bytes(header)
            except Exception as error:  # pydicom has many of its own
                raise InputError(f"{path} is truncated or damaged ({type(error).__name__}): copy it again") from error
            if "EncryptedAttributesSequence" in header:
                raise InputError(f"{path} is encrypted: export the study without encryption of attributes")
            if missing or left < size:
                what = f"it has no {missing[0]}" if missing else f"{left} of {size} bytes of its pixels are there"
                raise InputError(f"{path} is truncated or damaged ({what}): copy it again")
            yield path, header


def require_pydicom():
    """Import pydicom.

    Raises:
        InputError: it is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise InputError('DICOM needs pydicom and highdicom: pip install "magms_nnunet[dicom]"') from error
    return pydicom


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(128)
        return file.read(4) == b"DICM"


def _pixel_bytes(header: "Dataset") -> int:
    """Return the bytes of the element of uncompressed pixels; 0 for compressed ones."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    if "Rows" not in header or syntax is None or syntax.is_compressed:
        return 0
    frames = int(header.get("NumberOfFrames", 1) or 1)
    samples = int(header.get("SamplesPerPixel", 1))
    pixels = int(header.Rows) * int(header.Columns) * frames * samples * int(header.BitsAllocated) // 8
    return pixels + (8 if syntax.is_implicit_VR else 12)  # tag, representation and length


@contextmanager
def _quiet_pydicom() -> Iterator[None]:
    """Silence pydicom while headers are read, because its messages may hold a patient's name."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _check_one(study: Path, headers: list["Dataset"], what: str, *keywords: str) -> None:
    """Check that all images are of one patient or study, without its name in the message."""
    different = {tuple(str(header.get(keyword, "")) for keyword in keywords) for header in headers}
    if len(different) > 1:
        raise InputError(f"{study} holds images of {len(different)} {what}: give the folder of one")


def _series(uid: str, images: list[tuple[Path, "Dataset"]]) -> Series:
    headers = [header for _, header in images]
    if len(images) == 1 and str(headers[0].get("SOPClassUID", "")) in _ENHANCED:
        return _enhanced_series(uid, *images[0])
    problem = _kind_problem(headers)
    if problem is None:
        order, problem = stack_problem([header for _, header in images])
        images = [images[index] for index in order]
    return Series(uid, tuple(path for path, _ in images), tuple(header for _, header in images), problem)


def _enhanced_series(uid: str, path: Path, header: "Dataset") -> Series:
    try:
        headers = frame_headers(header)
    except Exception:  # what a damaged file holds is anybody's guess
        return Series(uid, (path,), (header,), "has functional groups that cannot be read: export it again")
    order, problem = stack_problem(headers)
    problem = _type_problem(headers) or problem
    return Series(uid, (path,), tuple(headers[index] for index in order), problem, tuple(order))


def _kind_problem(headers: list["Dataset"]) -> str | None:
    """Return the reason why images are no volume, whatever their positions."""
    classes = {str(header.get("SOPClassUID", "")) for header in headers}
    first = next(iter(sorted(classes)))
    if any(one.startswith(_SECONDARY_CAPTURE) for one in classes):
        return "is a secondary capture"
    if any(one.startswith(_RT) for one in classes):
        return "is an RT object, not an image"
    if classes & {*_ENHANCED}:
        return f"holds {len(headers)} multi-frame images: convert it with dcm2niix, and use --image"
    if classes != {_MR}:
        modality = headers[0].get("Modality", "?")
        return f"is no MR image (modality {modality})" if first != _MR else "holds images of several kinds"
    return _type_problem(headers)


def _type_problem(headers: list["Dataset"]) -> str | None:
    types = {str(value).upper() for header in headers for value in _values(header, "ImageType")}
    if "LOCALIZER" in types:
        return "is a localizer"
    if maps := sorted(types & _MAPS):
        return f"is a derived map ({maps[0]})"
    return None


def _values(header: "Dataset", keyword: str) -> list:
    value = header.get(keyword)
    if value is None or isinstance(value, str):
        return [] if not value else [value]
    return [*value]
