import json

import nibabel
import numpy as np
import pytest

from magms_nnunet.cli.convert import main
from magms_nnunet.datasets.convert import convert
from magms_nnunet.errors import InputError
from tests.datasets.nnunet_home import AFFINE, files_in, image, labels, voxels, write

MODALITIES = ["FLAIR", "T1w", "t1gd", "T2w"]
LABELS = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}


def four(order=range(4)) -> np.ndarray:
    """``(X, Y, Z, 4)``"""
    return np.stack([image(number) for number in order], axis=-1)


@pytest.fixture
def task(tmp_path):
    """Three labelled cases, and the other files of a Decathlon folder."""
    folder = tmp_path / "Task01_BrainTumour"
    for number in (1, 2, 3):
        write(folder / "imagesTr" / f"BRATS_00{number}.nii.gz", four())
        write(folder / "labelsTr" / f"BRATS_00{number}.nii.gz", labels(0, 1, 2, 3))
    write(folder / "imagesTs" / "BRATS_485.nii.gz", four())
    for files in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / files / "._BRATS_001.nii.gz").write_bytes(b"macOS")
    describe(folder)
    return folder


def describe(folder, modalities=MODALITIES, names=LABELS):
    content = {"modality": dict(zip("01234", modalities, strict=False)), "labels": names}
    (folder / "dataset.json").write_text(json.dumps(content))


def test_channels_become_files_and_the_test_cases_are_kept_apart(home, task, capsys):
    assert main(["msd", str(task), "-d", "502"]) == 0
    made = home / "raw" / "Dataset502_MSDBrainTumour"
    (test,) = json.loads((made / "test_cases.json").read_text())
    for part, cases in (("Ts", [test]), ("Tr", sorted({"BRATS_001", "BRATS_002", "BRATS_003"} - {test}))):
        expected = [f"{case}_{channel:04d}.nii.gz" for case in cases for channel in range(4)]
        assert files_in(made / f"images{part}") == expected
        assert files_in(made / f"labels{part}") == [f"{case}.nii.gz" for case in cases]
    for channel in range(4):
        path = made / "imagesTs" / f"{test}_{channel:04d}.nii.gz"
        np.testing.assert_array_equal(voxels(path), image(channel))
        np.testing.assert_array_equal(nibabel.load(path).affine, AFFINE)
    np.testing.assert_array_equal(voxels(made / "labelsTs" / f"{test}.nii.gz"), labels(0, 1, 2, 3))
    description = json.loads((made / "dataset.json").read_text())
    assert description["numTraining"] == 2
    assert description["split"] == {"seed": 0, "train": 1, "val": 1, "test": 1}
    (fold,) = json.loads((made / "splits_final.json").read_text())
    assert test not in fold["train"] + fold["val"]
    assert "note: 1 images of imagesTs have no labels and are left out" in capsys.readouterr().out


def test_the_order_of_the_volumes_is_that_of_dataset_json(home, task):
    describe(task, ["T2", "t1gd", "FLAIR", "T1w"])
    made = convert("msd", task, "502")
    found = [voxels(made.folder / "imagesTs" / f"{made.split.test[0]}_{channel:04d}.nii.gz") for channel in range(4)]
    for channel, volume in enumerate((2, 3, 1, 0)):
        np.testing.assert_array_equal(found[channel], image(volume))


def test_an_image_without_label_and_a_label_without_image(home, task):
    (task / "labelsTr" / "BRATS_001.nii.gz").unlink()
    (task / "imagesTr" / "BRATS_003.nii.gz").unlink()
    with pytest.raises(InputError, match="BRATS_001 lacks the label; BRATS_003 lacks the image"):
        convert("msd", task, "502")


def test_another_number_of_volumes(home, task):
    write(task / "imagesTr" / "BRATS_002.nii.gz", four(range(3)))
    with pytest.raises(InputError, match=r"BRATS_002: BRATS_002.nii.gz has 4x5x6x3 voxels: expected 4"):
        convert("msd", task, "502")
    assert not files_in(home)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"modalities": ["MRI"]}, "has the modalities MRI: expected FLAIR, T1w, t1gd, T2w"),
        ({"modalities": ["FLAIR", "T1w", "PET", "T2w"]}, "unknown modality 'T1c'"),
        ({"names": LABELS | {"1": "enhancing tumour", "3": "edema"}}, "expected 1 edema"),
        ({"names": {"0": "background", "1": "edema"}}, "expected 1 edema"),
    ],
)
def test_another_meaning_of_channels_or_labels(home, task, changes, expected):
    describe(task, **changes)
    with pytest.raises(InputError, match=expected):
        convert("msd", task, "502")


def test_not_the_decathlons_folder(home, task, tmp_path):
    with pytest.raises(InputError, match=r"looked for dataset.json, imagesTr and labelsTr .* found .*Task01_Brain"):
        convert("msd", tmp_path, "502")
    (task / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="is not the Decathlon's"):
        convert("msd", task, "502")
