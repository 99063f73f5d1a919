"""From a DICOM study to a segmentation, by one command."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from tests.dicom.written_study import PHYSICS, SECRETS, TEXTS, write_series, write_study

hd = pytest.importorskip("highdicom")

from magms_nnunet.cli import series as magms_series  # noqa: E402
from tests.faults.tiny import model, voxels  # noqa: E402, F401
from tests.inference.test_patient import predict  # noqa: E402, F401
from tests.integration.workspace import files_in  # noqa: E402


def scan(seed):
    return np.clip(voxels(seed) * 10, 0, 4000).astype(int)


@pytest.fixture
def study(tmp_path):
    """FLAIR and T1c on one grid."""
    return write_study(tmp_path / "study", {"FLAIR": scan(0), "T1c": scan(1)})


def test_a_study_becomes_a_dicom_seg_of_the_same_voxels(study, predict, tmp_path):  # noqa: F811
    flags = ("--output-type", "dicom-seg", "--dicom", study)
    code, out, err = predict(tmp_path / "out/seg.dcm", *flags)
    assert (code, err) == (0, [])
    assert predict(tmp_path / "nifti/seg.nii.gz", "--dicom", study)[0] == 0
    labels = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "nifti/seg.nii.gz"))
    seg = hd.seg.segread(tmp_path / "out/seg.dcm")
    volume = seg.get_volume()
    image = sitk.ReadImage(tmp_path / "nifti/seg.nii.gz")
    for label in (1, 2):
        found = seg.get_volume(segment_numbers=[label], combine_segments=False).array[..., 0]
        assert found.sum() == (labels == label).sum()
    assert sorted(volume.spacing) == pytest.approx(sorted(image.GetSpacing()))
    assert files_in(tmp_path / "out") == {"seg.dcm", "seg.json"}
    text = (tmp_path / "out/seg.json").read_text() + "".join(out)
    assert not any(secret in text for secret in SECRETS)
    report = json.loads((tmp_path / "out/seg.json").read_text())
    assert report["dicom"]["T1c"]["confidence"] == "high"
    assert report["files"] == {"FLAIR": "series 1 (FLAIR)", "T1c": "series 2 (T1c)"}
    assert "SeriesInstanceUID" not in report["dicom"]["T1c"]


def test_identifiers_are_kept_where_that_is_wanted(study, predict, tmp_path):  # noqa: F811
    assert predict(tmp_path / "seg.nii.gz", "--dicom", study, "--keep-identifiers", "--modalities", "T1c")[0] == 0
    report = json.loads((tmp_path / "seg.json").read_text())
    assert report["modalities_used"] == ["T1c"]
    assert report["dicom"]["T1c"]["PatientID"] == "ID-4711"


def test_grids_that_differ_are_brought_to_one(predict, tmp_path):  # noqa: F811
    study = write_study(tmp_path / "study", {"FLAIR": scan(0)})
    write_series(study, scan(1)[::2], 5, spacing_mm=(4, 1, 0.8), **PHYSICS["T1c"], SeriesDescription=TEXTS["T1c"])
    code, _, err = predict(tmp_path / "seg.nii.gz", "--dicom", study)
    assert code == 2
    assert "series 5 (T1c) has 16x17x9 voxels" in err[-1]
    assert "resample them to one grid with --grid" in err[-1]
    assert predict(tmp_path / "seg.nii.gz", "--dicom", study, "--grid", "T1c")[0] == 0
    report = json.loads((tmp_path / "seg.json").read_text())
    assert report["grid"] == {"asked_for": "T1c", "of": "T1c", "resampled": ["FLAIR"]}
    assert sitk.ReadImage(tmp_path / "seg.nii.gz").GetSize()[2] == 9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output-type", "dicom-seg"], "name the segmentation's file, ending in .dcm"),
        (["--series", "T1c=7"], "--series T1c=7: there is no such series"),
        (["--modalities", "T2"], "no series is T2"),
        (["--grid", "T2"], "--grid T2: there is no T2, there is FLAIR+T1c"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(flags, message, study, predict, tmp_path):  # noqa: F811
    code, out, err = predict(tmp_path / "out/seg.nii.gz", "--dicom", study, *flags)
    assert (code, out) == (2, [])
    assert message in err[-1]
    assert (len(err) > 1) == message.startswith("no series is")  # the table to choose from
    assert not any(secret in line for line in err for secret in SECRETS)
    assert not list(tmp_path.glob("out/*"))


def test_the_series_of_a_study_are_shown(study, tmp_path, capfd):
    assert magms_series.main([str(study)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["FLAIR", "T1c"]
    assert magms_series.main([str(tmp_path / "gone")]) == 2
    assert "does not exist" in capfd.readouterr().err


def test_without_pydicom_the_extra_is_named(study, monkeypatch, capfd):
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    assert magms_series.main([str(study)]) == 2
    assert 'pip install "magms_nnunet[dicom]"' in capfd.readouterr().err
