import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.errors import InputError
from magms_nnunet.metrics.dice import dice, dice_of_folder, dice_per_region, regions_from_dataset_json


def mask(*values):
    return np.array(values, bool)


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        (mask(1, 1, 0, 0), mask(1, 0, 1, 0), 0.5),
        (mask(1, 1, 1, 0), mask(1, 0, 0, 0), 0.5),
        (mask(1, 0), mask(1, 0), 1),
        (mask(1, 0), mask(0, 1), 0),
        (mask(1, 1), mask(0, 0), 0),
        (mask(0, 0), mask(1, 0), 0),
        (mask(0, 0), mask(0, 0), 1),
    ],
)
def test_by_hand(reference, prediction, expected):
    assert dice(reference, prediction) == expected


def test_other_shapes_are_an_error():
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        dice(mask(1, 0), mask(1, 0, 0))


def test_regions_join_labels():
    reference, prediction = np.array([0, 1, 2, 3]), np.array([0, 2, 1, 0])
    regions = {"whole": (1, 2, 3), "core": (2, 3)}
    assert dice_per_region(reference, prediction, regions) == {"whole": 0.8, "core": 0.0}


def test_regions_of_dataset_json():
    labels = {"background": 0, "edema": 1, "core": [2, 3], "ignore": 4}
    assert regions_from_dataset_json({"labels": labels}) == {"edema": (1,), "core": (2, 3)}


def test_a_folder_and_a_missing_prediction(tmp_path):
    for folder in ("reference", "prediction"):
        (tmp_path / folder).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(np.ones((2, 2, 2), np.uint8)), str(tmp_path / folder / "a.nii.gz"))
    arguments = (tmp_path / "reference", tmp_path / "prediction")
    assert dice_of_folder(*arguments, ["a"], {"all": (1,)}, ".nii.gz") == {"a": {"all": 1.0}}
    (tmp_path / "prediction/a.nii.gz").unlink()
    with pytest.raises(InputError, match=r"a: no a.nii.gz in .*prediction"):
        dice_of_folder(*arguments, ["a"], {"all": (1,)}, ".nii.gz")
