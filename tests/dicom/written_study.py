"""A DICOM study written slice by slice, with whatever is to be wrong with it."""

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

MR = "1.2.840.10008.5.1.4.1.1.4"
STUDY, FRAME = generate_uid(), generate_uid()
FLAIR = {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}
T1 = {"ScanningSequence": "SE", "RepetitionTime": 600, "EchoTime": 12}
T1C = {**T1, "ContrastBolusAgent": "Gadolinium"}
T2 = {"ScanningSequence": "SE", "RepetitionTime": 4500, "EchoTime": 95}
TEXTS = {"FLAIR": "ax FLAIR", "T1": "ax T1", "T1c": "ax T1 post", "T2": "ax T2"}
PHYSICS = {"FLAIR": FLAIR, "T1": T1, "T1c": T1C, "T2": T2}
# All of it in full: a shorter part, such as four digits, occurs by chance in a checksum or a UID.
SECRETS = ("Secret", "ID-4711", "19700101")
AXIAL, SAGITTAL = ([1, 0, 0], [0, 1, 0]), ([0, 1, 0], [0, 0, -1])


def write_series(
    folder: Path,
    voxels: np.ndarray,
    number: int,
    *,
    spacing_mm: tuple[float, float, float] = (2.0, 1.0, 0.8),
    origin_mm: tuple[float, float, float] = (-10.0, 5.0, 30.0),
    axes: tuple[list, list] = AXIAL,
    leave_out: tuple[int, ...] = (),
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    **attributes,
) -> list[Path]:
    """Write a series of unsigned 16-bit slices in shuffled order, under names that say nothing.

    Args:
        folder: of the study.
        voxels: ``(z, y, x)``, whole numbers.
        number: SeriesNumber, and the part of the names and the UID that tells series apart.
        spacing_mm: ``(z, y, x)``: distance of slices, distance of rows, distance of columns.
        origin_mm: centre of the first voxel of the first slice.
        axes: directions of rows' and columns' growth.
        leave_out: indices of slices.
        shift_mm: further shift from slice to slice.
        attributes: of DICOM, for all slices; None leaves one out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    normal, uid = np.cross(*axes), generate_uid(entropy_srcs=[str(folder), str(number)])
    paths = []
    for index in np.random.default_rng(number).permutation(len(voxels)).tolist():
        if index in leave_out:
            continue
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MR, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        path = folder / f"IM{number:02d}{len(paths):04d}"
        image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        content = {
            "SOPClassUID": MR,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "StudyInstanceUID": STUDY,
            "SeriesInstanceUID": uid,
            "FrameOfReferenceUID": FRAME,
            "PatientName": f"{SECRETS[0]}^Patient",
            "PatientID": SECRETS[1],
            "PatientBirthDate": SECRETS[2],
            "PatientSex": "F",
            "StudyID": "1",
            "AccessionNumber": "",
            "ReferringPhysicianName": "",
            "StudyDate": "20200101",
            "StudyTime": "120000",
            "Modality": "MR",
            "Manufacturer": "nobody",
            "SeriesNumber": number,
            "InstanceNumber": index + 1,
            "ImageType": ["ORIGINAL", "PRIMARY", "M"],
            "Rows": voxels.shape[1],
            "Columns": voxels.shape[2],
            "PixelSpacing": [spacing_mm[1], spacing_mm[2]],
            "SliceThickness": spacing_mm[0],
            "ImageOrientationPatient": [*axes[0], *axes[1]],
            "ImagePositionPatient": (np.array(origin_mm) + index * (spacing_mm[0] * normal + shift_mm)).tolist(),
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 0,
        }
        for keyword, value in (content | attributes).items():
            if value is not None:
                setattr(image, keyword, value)
        image.PixelData = voxels[index].astype("<u2").tobytes()
        image.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_study(folder: Path, volumes: dict[str, np.ndarray], **options) -> Path:
    """A series per modality, with the times and descriptions of each."""
    for number, (name, voxels) in enumerate(volumes.items(), 1):
        attributes = {**PHYSICS[name], "SeriesDescription": TEXTS[name]}
        write_series(folder / f"S{number}", voxels, number, **(attributes | options))
    return folder
