"""Enhanced (multi-frame) MR: one file with all slices, in any order, each with its own scaling."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from magms_nnunet.dicom.modality_rule import guess
from magms_nnunet.dicom.study import find_series
from magms_nnunet.dicom.volume import read_volume
from tests.dicom.written_study import AXIAL, FRAME, SAGITTAL, STUDY, pydicom

ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"
VOXELS = np.random.default_rng(0).integers(0, 4000, (6, 8, 9))
SPACING_MM, ORIGIN_MM = (2.0, 1.0, 0.8), np.array([-10.0, 5.0, 30.0])
TIMES = {"TR": 9000.0, "TE": 120.0, "TI": 2500.0}


def group(**content) -> list[Dataset]:
    """A sequence of one item."""
    item = Dataset()
    for keyword, value in content.items():
        setattr(item, keyword, value)
    return [item]


def write_enhanced(folder: Path, *, axes=AXIAL, slopes=None, shared=None, frames=None, **attributes) -> Path:
    """Write VOXELS as one file whose frames are shuffled.

    Args:
        folder: of the study.
        axes: directions of rows' and columns' growth.
        slopes: RescaleSlope of every slice; None: the file has no scaling.
        shared: functional groups of all frames that are not the usual ones.
        frames: index of the slice in each frame.
        attributes: of DICOM, for the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(1).permutation(len(VOXELS)).tolist() if frames is None else frames
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = ENHANCED, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    image = FileDataset(str(folder / "IM1"), {}, file_meta=meta, preamble=b"\0" * 128)
    content = {
        **{"SOPClassUID": ENHANCED, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID, "StudyInstanceUID": STUDY},
        **{"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": FRAME, "PatientName": "Secret^Patient"},
        **{"PatientID": "ID-4711", "PatientBirthDate": "19700101", "PatientSex": "F", "StudyID": "1"},
        **{"AccessionNumber": "", "ReferringPhysicianName": "", "StudyDate": "20200101", "StudyTime": "120000"},
        **{"Modality": "MR", "Manufacturer": "nobody", "SeriesNumber": 4, "InstanceNumber": 1},
        **{"SeriesDescription": "ax FLAIR", "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]},
        **{"Rows": VOXELS.shape[1], "Columns": VOXELS.shape[2], "NumberOfFrames": len(order), "SamplesPerPixel": 1},
        **{"PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15},
        **{"PixelRepresentation": 0, "ContentDate": "20200101", "ContentTime": "120000"},
    }
    for keyword, value in (content | attributes).items():
        setattr(image, keyword, value)
    usual = {
        "PlaneOrientationSequence": group(ImageOrientationPatient=[*axes[0], *axes[1]]),
        "PixelMeasuresSequence": group(PixelSpacing=[*SPACING_MM[1:]], SliceThickness=SPACING_MM[0]),
        "MRTimingAndRelatedParametersSequence": group(RepetitionTime=TIMES["TR"]),
        "MREchoSequence": group(EffectiveEchoTime=TIMES["TE"]),
        "MRModifierSequence": group(InversionRecovery="YES", InversionTimes=[TIMES["TI"]]),
    }
    (common,) = group(**usual | (shared or {}))
    image.SharedFunctionalGroupsSequence = [common]
    normal, per_frame = np.cross(*axes), []
    for index in order:
        position = (ORIGIN_MM + index * SPACING_MM[0] * normal).tolist()
        in_stack = group(StackID="1", InStackPositionNumber=index + 1, DimensionIndexValues=[1, index + 1])
        (frame,) = group(PlanePositionSequence=group(ImagePositionPatient=position), FrameContentSequence=in_stack)
        if slopes is not None:
            scaling = {"RescaleSlope": slopes[index], "RescaleIntercept": -3, "RescaleType": "US"}
            frame.PixelValueTransformationSequence = group(**scaling)
        per_frame.append(frame)
    image.PerFrameFunctionalGroupsSequence = per_frame
    content_group = pydicom.datadict.tag_for_keyword("FrameContentSequence")
    image.DimensionIndexSequence = [
        group(DimensionIndexPointer=pydicom.datadict.tag_for_keyword(keyword), FunctionalGroupPointer=content_group)[0]
        for keyword in ("StackID", "InStackPositionNumber")
    ]
    image.PixelData = VOXELS[order].astype("<u2").tobytes()
    image.save_as(folder / "IM1", enforce_file_format=True)
    return folder / "IM1"


def problem(folder):
    (series,) = find_series(folder)
    return series.problem


@pytest.mark.parametrize("axes", [AXIAL, SAGITTAL], ids=["axial", "sagittal"])
def test_slices_are_ordered_scaled_and_placed(axes, tmp_path):
    write_enhanced(tmp_path, axes=axes, slopes=[1, 2, 3, 4, 5, 0.5])
    (series,) = find_series(tmp_path)
    assert series.problem is None
    assert (len(series.files), len(series.headers)) == (1, 6)
    image = read_volume(series, "it")
    scaled = VOXELS * np.array([1, 2, 3, 4, 5, 0.5])[:, None, None] - 3
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), scaled)
    np.testing.assert_allclose(image.GetSpacing(), (0.8, 1.0, 2.0))
    for index in (0, 5):
        expected = ORIGIN_MM + index * 2.0 * np.cross(*axes)
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((0, 0, index)), expected)


def test_highdicom_reads_the_same_voxels_at_the_same_positions(tmp_path):
    hd = pytest.importorskip("highdicom")
    path = write_enhanced(tmp_path, axes=SAGITTAL)
    volume = hd.imread(path).get_volume()
    (series,) = find_series(tmp_path)
    image = read_volume(series, "it")
    ours = sitk.GetArrayFromImage(image)
    for index in np.ndindex(2, 3, 4):
        z, y, x = index
        point = image.TransformIndexToPhysicalPoint((x, y, z))
        theirs = np.rint(volume.map_reference_to_indices(np.array([point]))[0]).astype(int)
        assert volume.array[tuple(theirs)] == ours[z, y, x]


def test_the_rule_for_modalities_reads_times_and_contrast_of_the_frames(tmp_path):
    write_enhanced(tmp_path / "flair")
    (series,) = find_series(tmp_path / "flair")
    found = guess(series.headers[0])
    assert (found.kinds, found.confidence) == (("FLAIR",), "high")
    assert found.reason == "TR 9000, TE 120, TI 2500 ms, description"
    t1 = {
        "MRTimingAndRelatedParametersSequence": group(RepetitionTime=600.0),
        "MREchoSequence": group(EffectiveEchoTime=12.0),
        "MRModifierSequence": group(InversionRecovery="NO"),
    }
    agent = group(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="Gadolinium")
    for administered, kind in (("YES", "T1c"), ("NO", "T1")):
        usage = {"ContrastBolusUsageSequence": group(ContrastBolusAgentAdministered=administered)}
        folder = tmp_path / kind
        given = {"SeriesDescription": "ax T1", "ContrastBolusAgentSequence": agent}
        write_enhanced(folder, shared=t1 | usage, **given)
        (series,) = find_series(folder)
        assert guess(series.headers[0]).kinds == (kind,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": [0, 1, 2, 4, 5]}, "lacks 1 slice"),
        ({"frames": [0, 1, 2, 2, 3, 4]}, "has 1 positions with more than one image"),
        ({"frames": [3]}, "is a single slice"),
        ({"ImageType": ["DERIVED", "PRIMARY", "VOLUME", "ADC"]}, "is a derived map (ADC)"),
        ({"shared": {"MRImageFrameTypeSequence": group(ComplexImageComponent="PHASE")}}, "is a derived map (PHASE)"),
        ({"shared": {"PixelMeasuresSequence": group(SliceThickness=2.0)}}, "has no PixelSpacing in its headers"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_what_is_no_volume_is_named(options, message, tmp_path):
    write_enhanced(tmp_path, **options)
    assert message in problem(tmp_path)


def test_a_segmentation_refers_to_the_frames(tmp_path):
    hd = pytest.importorskip("highdicom")
    from magms_nnunet.dicom.segmentation import write_segmentation

    write_enhanced(tmp_path / "study")
    (series,) = find_series(tmp_path / "study")
    labels = np.random.default_rng(1).integers(0, 2, VOXELS.shape)
    write_segmentation(tmp_path / "seg.dcm", labels, {"all": (1,)}, series, {}, "a model")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert seg.PatientID == "ID-4711"
    at = {
        tuple(float(mm) for mm in frame.PlanePositionSequence[0].ImagePositionPatient): number
        for number, frame in enumerate(seg.PerFrameFunctionalGroupsSequence)
    }
    frames = hd.seg.segread(tmp_path / "seg.dcm").pixel_array
    for index, header in enumerate(series.headers):
        position = tuple(float(mm) for mm in header.ImagePositionPatient)
        np.testing.assert_array_equal(frames[at[position]] > 0, labels[index] > 0)
