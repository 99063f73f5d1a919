import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.cli.convert import main
from magms_nnunet.datasets.convert import convert
from magms_nnunet.errors import InputError
from tests.datasets.nnunet_home import files_in, image, labels, voxels, write

SPACING_MM = (1.0, 1.5, 2.0)


def write_analyze(folder, name, array):
    """As the challenge published them: four axes, the last of length 1."""
    folder.mkdir(parents=True, exist_ok=True)
    analyze = nibabel.AnalyzeImage(array[..., None], None)
    analyze.header.set_zooms((*SPACING_MM, 1.0))
    analyze.to_filename(folder / f"{name}.img")


def write_subject(folder, number, seg=(0, 10, 150, 250)):
    write_analyze(folder, f"subject-{number}-T1", image(number))
    write_analyze(folder, f"subject-{number}-T2", image(100 + number - 100 * (number > 10)))
    if seg:
        write_analyze(folder, f"subject-{number}-label", labels(*seg))


def test_ten_subjects_are_split_as_in_the_paper(home, tmp_path, capsys):
    for number in range(1, 11):
        write_subject(tmp_path / "src" / "iSEG-2017-Training", number)
    for number in (11, 23):
        write_subject(tmp_path / "src" / "iSEG-2017-Testing", number, seg=())
    assert main(["iseg2017", str(tmp_path / "src"), "-d", "501"]) == 0
    made = home / "raw" / "Dataset501_iSEG2017"
    test = json.loads((made / "test_cases.json").read_text())
    (fold,) = json.loads((home / "preprocessed" / made.name / "splits_final.json").read_text())
    assert [len(cases) for cases in (fold["train"], fold["val"], test)] == [6, 1, 3]
    assert sorted(fold["train"] + fold["val"] + test) == sorted(f"subject-{number}" for number in range(1, 11))
    assert files_in(made / "labelsTs") == [f"{case}.nii.gz" for case in test]
    assert json.loads((made / "dataset.json").read_text()) == {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "CSF": 1, "GM": 2, "WM": 3},
        "numTraining": 7,
        "file_ending": ".nii.gz",
        "split": {"seed": 0, "train": 6, "val": 1, "test": 3},
    }
    case, number = fold["train"][0], int(fold["train"][0].removeprefix("subject-"))
    for channel, value in enumerate((number, 100 + number)):
        read = sitk.ReadImage(str(made / "imagesTr" / f"{case}_{channel:04d}.nii.gz"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read), image(value).T)
        assert read.GetSpacing() == SPACING_MM
        assert read.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    label = sitk.ReadImage(str(made / "labelsTr" / f"{case}.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(label), labels(0, 1, 2, 3).T)
    assert label.GetSpacing() == SPACING_MM
    out = capsys.readouterr().out
    assert "note: 2 test subjects without labels are left out" in out
    assert "no reliable orientation" in out


def test_nifti_variants_keep_their_geometry(home, tmp_path, capsys):
    for number, ending in ((1, ".nii"), (2, ".nii.gz"), (3, ".nii")):
        for value, part in ((number, "T1"), (100 + number, "T2")):
            write(tmp_path / "src" / f"subject-{number}-{part}{ending}", image(value))
        write(tmp_path / "src" / f"subject-{number}-label{ending}", labels(0, 10, 150, 250).astype(np.float32))
    assert main(["iseg2017", str(tmp_path / "src"), "-d", "501"]) == 0
    made = home / "raw" / "Dataset501_iSEG2017"
    for number in (1, 2, 3):
        source = next((tmp_path / "src").glob(f"subject-{number}-T2*"))
        (path,) = made.glob(f"images*/subject-{number}_0001.nii.gz")
        np.testing.assert_array_equal(voxels(path), voxels(source))
        np.testing.assert_array_equal(nibabel.load(path).affine, nibabel.load(source).affine)
    assert "orientation" not in capsys.readouterr().out


def test_other_values_name_the_file(home, tmp_path):
    for number in (1, 2, 3):
        write_subject(tmp_path, number, seg=(0, 10, 151, 250) if number == 2 else (0, 10, 150, 250))
    with pytest.raises(
        InputError, match=r"subject-2-label.hdr has the values 151: iSEG2017 labels have 0, 10, 150, 250"
    ):
        convert("iseg2017", tmp_path, "501")
    assert not files_in(home)


def test_a_training_subject_without_label_is_incomplete(home, tmp_path):
    write_subject(tmp_path, 1)
    write_subject(tmp_path, 2, seg=())
    (tmp_path / "subject-1-T2.hdr").unlink()
    with pytest.raises(InputError, match="1 of 2 cases have no label or no image: subject-2 lacks the label"):
        convert("iseg2017", tmp_path, "501")


def test_something_else(home, tmp_path):
    (tmp_path / "subject-1.hdr").touch()
    with pytest.raises(InputError, match=r"looked for subject-1-T1.hdr .*; found subject-1.hdr"):
        convert("iseg2017", tmp_path, "501")
