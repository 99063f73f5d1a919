import json

import numpy as np
import pytest

from magms_nnunet.datasets.brats import find
from magms_nnunet.datasets.convert import convert
from magms_nnunet.errors import InputError
from tests.datasets.nnunet_home import files_in, image, labels, voxels, write

OLD, NEW = ("flair", "t1", "t1ce", "t2", "seg"), ("t2f", "t1n", "t1c", "t2w", "seg")


def write_case(folder, case, parts=OLD, separator="_", ending=".nii.gz", seg=(0, 1, 2, 4)):
    for number, part in enumerate(parts):
        content = labels(*seg) if part == "seg" else image(number)
        write(folder / f"{case}{separator}{part}{ending}", content)


@pytest.mark.parametrize(
    ("folder", "case", "ending"),
    [
        ("HGG/Brats18_2013_2_1", "Brats18_2013_2_1", ".nii.gz"),
        ("LGG/Brats18_TCIA09_141_1", "Brats18_TCIA09_141_1", ".nii.gz"),
        ("MICCAI_BraTS_2019_Data_Training/HGG/BraTS19_CBICA_AAB_1", "BraTS19_CBICA_AAB_1", ".nii"),
        ("MICCAI_BraTS2020_TrainingData/BraTS20_Training_001", "BraTS20_Training_001", ".nii"),
        ("BraTS2021_00000", "BraTS2021_00000", ".nii.gz"),
    ],
)
def test_layouts_until_2021(home, tmp_path, folder, case, ending):
    write_case(tmp_path / "src" / folder, case, ending=ending)
    write_case(tmp_path / "src" / folder.replace(case, "BraTS19_x"), "BraTS19_x")
    made = convert("brats", tmp_path / "src", "503")
    assert sorted(made.split.train + made.split.val) == sorted([case, "BraTS19_x"])
    for channel in range(4):
        path = made.folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz"
        np.testing.assert_array_equal(voxels(path), image(channel))
    np.testing.assert_array_equal(voxels(made.folder / "labelsTr" / f"{case}.nii.gz"), labels(0, 2, 1, 3))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_the_misnamed_segmentation_of_case_355(tmp_path, ending):
    folder = tmp_path / "BraTS20_Training_355"
    write_case(folder, "BraTS20_Training_355", OLD[:4], ending=ending)
    segmentation = write(folder / f"W39_1998.09.19_Segm{ending}", labels(0, 4))
    (case,) = find(tmp_path).cases
    assert (case.name, case.patient, case.label) == ("BraTS20_Training_355", "BraTS20_Training_355", segmentation)


def write_gli(folder, case, seg=(0, 1, 2, 3)):
    write_case(folder / case, case, NEW, "-", seg=seg)


def test_from_2023_on_enhancing_tumour_is_3(home, tmp_path):
    for patient in range(3):
        write_gli(tmp_path / "src", f"BraTS-GLI-0000{patient}-000")
    made = convert("brats", tmp_path / "src", "503")
    path = made.folder / "labelsTr" / "BraTS-GLI-00001-000.nii.gz"
    np.testing.assert_array_equal(voxels(path), labels(0, 2, 1, 3))
    np.testing.assert_array_equal(
        voxels(made.folder / "imagesTr" / "BraTS-GLI-00001-000_0002.nii.gz"), image(NEW.index("t1c"))
    )
    description = json.loads((made.folder / "dataset.json").read_text())
    assert "resection_cavity" not in description["labels"]
    assert description["regions_class_order"] == [1, 2, 3]


def test_the_resection_cavity_of_2024_is_a_region_of_its_own(home, tmp_path):
    write_gli(tmp_path / "src", "BraTS-GLI-00000-100")
    write_gli(tmp_path / "src", "BraTS-GLI-00001-100", seg=(0, 1, 2, 3, 4))
    made = convert("brats", tmp_path / "src", "503")
    np.testing.assert_array_equal(
        voxels(made.folder / "labelsTr" / "BraTS-GLI-00001-100.nii.gz"), labels(0, 2, 1, 3, 4)
    )
    description = json.loads((made.folder / "dataset.json").read_text())
    assert description["labels"]["resection_cavity"] == 4
    assert description["labels"]["whole_tumor"] == [1, 2, 3]
    assert description["regions_class_order"] == [1, 2, 3, 4]


def test_time_points_of_a_patient_stay_together(home, tmp_path):
    for patient in range(5):
        for time in range(2):
            write_gli(tmp_path / "src", f"BraTS-GLI-0000{patient}-00{time}")
    made = convert("brats", tmp_path / "src", "503")
    (first, second) = made.split.val
    assert first[:15] == second[:15]
    assert len(made.split.train) == 8


def test_value_3_means_nothing_until_2021(home, tmp_path):
    for number in range(2):
        write_case(tmp_path / "src", f"BraTS2021_0000{number}", seg=(0, 1, 2, 3))
    with pytest.raises(InputError, match=r"BraTS2021_00000_seg.nii.gz has the values 3: BraTS labels have 0, 1, 2, 4"):
        convert("brats", tmp_path / "src", "503")
    assert not files_in(home)


def test_two_conventions_in_one_folder(tmp_path):
    write_case(tmp_path, "BraTS2021_00000")
    write_gli(tmp_path, "BraTS-GLI-00000-000")
    with pytest.raises(InputError, match="two conventions for labels, as BraTS2021_00000 and BraTS-GLI-00000-000"):
        find(tmp_path)


def test_other_tumours(tmp_path):
    write_case(tmp_path, "BraTS-PED-00001-000", NEW, "-")
    with pytest.raises(InputError, match=r"is of BraTS-PED, .* only gliomas"):
        find(tmp_path)


def test_the_same_image_twice(tmp_path):
    write_case(tmp_path / "a", "BraTS2021_00000")
    write_case(tmp_path / "b", "BraTS2021_00000", ("t2",))
    with pytest.raises(InputError, match=r"a/BraTS2021_00000_t2.nii.gz and .*b/BraTS2021_00000_t2.nii.gz are the same"):
        find(tmp_path)


def test_links_are_followed_and_what_macos_leaves_is_not(tmp_path):
    write_case(tmp_path / "elsewhere", "BraTS2021_00000")
    (tmp_path / "src" / "sub").mkdir(parents=True)
    (tmp_path / "src" / "BraTS2021_00000").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "src" / "sub" / "._BraTS2021_00000_t2.nii.gz").touch()
    assert [case.name for case in find(tmp_path / "src").cases] == ["BraTS2021_00000"]


def test_what_else_lies_beside_the_images_is_passed_over(tmp_path):
    write_gli(tmp_path, "BraTS-GLI-00000-000")
    write(tmp_path / "BraTS-GLI-00000-000" / "BraTS-GLI-00000-000-t1n-voided.nii.gz", image(1))
    (tmp_path / "mapping.csv").touch()
    assert [case.name for case in find(tmp_path).cases] == ["BraTS-GLI-00000-000"]
