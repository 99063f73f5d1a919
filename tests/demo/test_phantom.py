import json

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.demo.phantom import LABELS, MODALITIES, SHAPE, SPACING_MM, phantom_case, write_phantom


def test_the_same_seed_and_case_give_the_same_voxels():
    for first, second in zip(phantom_case(3, 1), phantom_case(3, 1), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("seed", "case"), [(3, 2), (4, 1)])
def test_another_seed_or_case_gives_another_patient(seed, case):
    images, labels = phantom_case(3, 1)
    other_images, other_labels = phantom_case(seed, case)
    assert (labels != other_labels).any()
    assert (images != other_images).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("case", range(30))
def test_every_case_has_both_labels_inside_one_brain_on_zero_background(case):
    images, labels = phantom_case(0, case)
    assert images.shape == (len(MODALITIES), *SHAPE)
    assert labels.shape == SHAPE
    brain = images > 0
    assert (brain == brain[0]).all()
    assert (images[~brain] == 0).all()
    assert 0.3 < brain[0].mean() < 0.6
    assert brain[0][labels > 0].all()
    voxels = np.bincount(labels.ravel())
    assert len(voxels) == len(LABELS)
    assert voxels[LABELS["edema"]] > 200
    assert voxels[LABELS["core"]] > 50


def contrast(modality: str, label: str) -> float:
    """Of a label to the healthy tissue at the mirrored place, in standard deviations of the brain, over 10 cases."""
    differences = []
    for case in range(10):
        images, labels = phantom_case(0, case)
        image = images[MODALITIES.index(modality)].astype(float)
        mirrored = image[..., ::-1]
        where = (labels == LABELS[label]) & (labels[..., ::-1] == 0) & (mirrored > 0)
        differences.extend((image - mirrored)[where] / image[image > 0].std())
    return float(np.mean(differences))


@pytest.mark.parametrize(("modality", "label"), [("FLAIR", "edema"), ("T1c", "core")])
def test_what_a_modality_shows_best(modality, label):
    assert contrast(modality, label) > 1.5


def test_edema_is_fainter_on_t2():
    assert 0.4 < contrast("T2", "edema") < 0.6 * contrast("FLAIR", "edema")


@pytest.mark.parametrize(
    ("modality", "label"), [("T1", "edema"), ("T1c", "edema"), ("FLAIR", "core"), ("T1", "core"), ("T2", "core")]
)
def test_what_a_modality_hardly_shows(modality, label):
    assert abs(contrast(modality, label)) < 0.4


def test_files_are_in_the_raw_format_and_test_cases_apart(tmp_path):
    write_phantom(tmp_path / "raw", tmp_path / "test", train_cases=2, test_cases=1, seed=5)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(
        [
            "raw/dataset.json",
            *(f"raw/imagesTr/phantom_00{case}_000{channel}.nii.gz" for case in (0, 1) for channel in range(4)),
            *(f"raw/labelsTr/phantom_00{case}.nii.gz" for case in (0, 1)),
            *(f"test/images/phantom_002_000{channel}.nii.gz" for channel in range(4)),
            "test/labels/phantom_002.nii.gz",
        ]
    )
    assert json.loads((tmp_path / "raw/dataset.json").read_text()) == {
        "channel_names": {"0": "FLAIR", "1": "T1", "2": "T1c", "3": "T2"},
        "labels": {"background": 0, "edema": 1, "core": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    images, labels = phantom_case(5, 1)
    expected = {"imagesTr/phantom_001_0002": images[2], "labelsTr/phantom_001": labels}
    for name, array in expected.items():
        file = sitk.ReadImage(str(tmp_path / f"raw/{name}.nii.gz"))
        assert file.GetSpacing() == (SPACING_MM,) * 3
        np.testing.assert_array_equal(sitk.GetArrayFromImage(file), array)
