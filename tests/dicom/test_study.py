"""Series are found by headers, and refused by name where they are no volume."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.dicom.written_study import AXIAL, SAGITTAL, SECRETS, T1, T2, pydicom, write_series

from magms_nnunet.dicom.study import find_series  # isort: skip
from magms_nnunet.dicom.volume import read_volume  # isort: skip
from magms_nnunet.errors import InputError  # isort: skip

VOXELS = np.random.default_rng(0).integers(0, 4000, (6, 8, 9))


def problem(folder) -> str | None:
    (series,) = find_series(folder)
    return series.problem


@pytest.mark.parametrize(
    "axes", [AXIAL, SAGITTAL, ([0.8, 0.6, 0], [-0.6, 0.8, 0])], ids=["axial", "sagittal", "oblique"]
)
def test_voxels_lie_where_the_headers_say(axes, tmp_path):
    write_series(tmp_path, VOXELS, 1, axes=axes, RescaleSlope=2, RescaleIntercept=-5)
    (series,) = find_series(tmp_path)
    image = read_volume(series, "series 1")
    import SimpleITK as sitk

    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS * 2 - 5)
    np.testing.assert_allclose(image.GetSpacing(), (0.8, 1.0, 2.0), atol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), (-10, 5, 30), atol=1e-6)
    at = np.array([4, 3, 2])
    expected = np.array([-10, 5, 30]) + 4 * 0.8 * np.array(axes[0]) + 3 * np.array(axes[1]) + 4 * np.cross(*axes)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(at.tolist()), expected, atol=1e-6)


def test_a_scaling_that_differs_between_slices_rounds_nothing(tmp_path):
    paths = write_series(tmp_path, VOXELS, 1, RescaleIntercept=0, RescaleSlope=1)
    for path in paths:
        image = pydicom.dcmread(path)
        image.RescaleSlope = 1 + 0.25 * (image.InstanceNumber - 1)
        image.save_as(path)
    import SimpleITK as sitk

    (series,) = find_series(tmp_path)
    slopes = 1 + 0.25 * np.arange(6)[:, None, None]
    np.testing.assert_allclose(sitk.GetArrayFromImage(read_volume(series, "")), VOXELS * slopes, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leave_out": (2,)}, "lacks 1 slice (distances of 2 to 4 mm)"),
        ({"leave_out": (2, 3)}, "lacks 2 slices (distances of 2 to 6 mm)"),
        ({"leave_out": (1, 2, 3, 4, 5)}, "is a single slice"),
        ({"shift_mm": (0, 0.4, 0)}, "has slices that are shifted by up to 2 mm (gantry tilt)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "is a localizer"),
        ({"ImageType": ["DERIVED", "PRIMARY", "ADC"]}, "is a derived map (ADC)"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "is a secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3", "Modality": "RTSTRUCT"}, "is an RT object, not an image"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1"}, "multi-frame images: convert it with dcm2niix"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.3"}, "is no MR image (modality MR)"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, "is no MR image (modality CT)"),
        ({"PixelSpacing": None}, "has no PixelSpacing in its headers"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_what_is_no_volume_is_named(options, message, tmp_path):
    write_series(tmp_path, VOXELS, 1, **(T1 | options))
    assert message in problem(tmp_path)


def test_two_acquisitions_in_one_series(tmp_path):
    write_series(tmp_path, VOXELS, 1, **T1)
    write_series(tmp_path, VOXELS, 2, **T1, SeriesInstanceUID=find_series(tmp_path)[0].uid, EchoTrainLength=2)
    assert "6 positions with more than one image" in problem(tmp_path)


def test_unequal_distances(tmp_path):
    for path in write_series(tmp_path, VOXELS, 1):
        image = pydicom.dcmread(path)
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y, float(z) + 0.3 * (image.InstanceNumber == 3)]
        image.save_as(path)
    assert problem(tmp_path) == "has slices at unequal distances (1.7 to 2.3 mm)"


def test_several_orientations_or_sizes(tmp_path):
    write_series(tmp_path, VOXELS, 1)
    (first,) = find_series(tmp_path)
    write_series(tmp_path, VOXELS, 2, axes=SAGITTAL, SeriesInstanceUID=first.uid)
    assert "several orientations" in problem(tmp_path)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"PatientID": "ID-1", "PatientName": "Other^One"}, "images of 2 patients"),
        ({"StudyInstanceUID": "1.2.3"}, "images of 2 studies"),
    ],
)
def test_two_patients_or_studies_are_not_named_but_refused(attributes, message, tmp_path):
    write_series(tmp_path, VOXELS, 1, **T1)
    write_series(tmp_path, VOXELS, 2, **(T2 | attributes))
    with pytest.raises(InputError, match=message) as caught:
        find_series(tmp_path)
    assert not any(secret in str(caught.value) for secret in SECRETS)


def test_damaged_and_encrypted_files_are_named(tmp_path):
    first, second, *_ = write_series(tmp_path, VOXELS, 1)
    content = first.read_bytes()
    for length in (len(content) - 10, 140, 400):
        first.write_bytes(content[:length])
        with pytest.raises(InputError, match=rf"{first.name} is truncated"):
            find_series(tmp_path)
    first.write_bytes(content)
    image = pydicom.dcmread(second)
    image.EncryptedAttributesSequence = [pydicom.Dataset()]
    image.save_as(second)
    with pytest.raises(InputError, match=rf"{second.name} is encrypted"):
        find_series(tmp_path)


def test_other_files_are_passed_over(tmp_path):
    write_series(tmp_path / "a" / "b", VOXELS, 1)
    (tmp_path / "readme.txt").write_text("not DICOM")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert [len(series.files) for series in find_series(tmp_path)] == [6]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no DICOM in"):
        find_series(tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist"):
        find_series(tmp_path / "gone")


def test_files_of_other_kinds_are_used_or_refused_in_a_line_of_ours(tmp_path):
    """Pydicom's own test files: other modalities, compressed, multi-frame, RT, waveforms, and damaged on purpose."""
    files = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))
    assert len(files) > 50
    kinds = set()
    for number, file in enumerate(files):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(file, folder)
        try:
            (series,) = find_series(folder)
        except InputError as error:
            kinds.add("refused" if "\n" not in str(error) else "a page")
        else:
            kinds.add(series.problem)
    assert "a page" not in kinds
    assert {"refused", "is a single slice", "is no MR image (modality CT)", "is an RT object, not an image"} <= kinds
