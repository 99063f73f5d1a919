"""What all converters share, on small BraTS folders."""

import json

import nibabel
import numpy as np
import pytest

from magms_nnunet.cli.convert import main
from magms_nnunet.datasets import convert
from magms_nnunet.datasets.source import SourceCase
from magms_nnunet.errors import InputError
from tests.datasets.nnunet_home import AFFINE, files_in, image, labels, voxels, write

PARTS = ("flair", "t1", "t1ce", "t2")
NAME = "Dataset503_BraTS"


@pytest.fixture
def source(tmp_path):
    """Five cases of 2021."""
    folder = tmp_path / "source"
    for number in range(5):
        case = f"BraTS2021_{number:05d}"
        for value, part in enumerate(PARTS):
            write(folder / case / f"{case}_{part}.nii.gz", image(10 * number + value))
        write(folder / case / f"{case}_seg.nii.gz", labels(0, 1, 2, 4))
    return folder


def run(source, *flags: str) -> int:
    return main(["brats", str(source), "-d", "503", *flags])


def error(home, source, capsys, *flags: str) -> str:
    before = files_in(home)
    assert run(source, *flags) == 2
    assert files_in(home) == before
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_dataset_as_nnunet_wants_it(home, source, capsys):
    assert run(source) == 0
    made = home / "raw" / NAME
    case = "BraTS2021_00003"
    for channel in range(4):
        path = made / "imagesTr" / f"{case}_{channel:04d}.nii.gz"
        np.testing.assert_array_equal(voxels(path), image(30 + channel))
        np.testing.assert_array_equal(nibabel.load(path).affine, AFFINE)
    np.testing.assert_array_equal(voxels(made / "labelsTr" / f"{case}.nii.gz"), labels(0, 2, 1, 3))
    description = json.loads((made / "dataset.json").read_text())
    assert description == {
        "channel_names": {"0": "FLAIR", "1": "T1", "2": "T1c", "3": "T2"},
        "labels": {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [2, 3], "enhancing_tumor": 3},
        "regions_class_order": [1, 2, 3],
        "numTraining": 5,
        "file_ending": ".nii.gz",
        "split": {"seed": 0, "train": 4, "val": 1, "test": 0},
    }
    (fold,) = json.loads((made / "splits_final.json").read_text())
    assert sorted(fold["train"] + fold["val"]) == [f"BraTS2021_{number:05d}" for number in range(5)]
    copied = home / "preprocessed" / NAME / "splits_final.json"
    assert copied.read_text() == (made / "splits_final.json").read_text()
    assert json.loads((made / "test_cases.json").read_text()) == []
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("4 training, 1 validation and 0 test cases, at random with --seed 0")
    assert out[1] == "next: nnUNetv2_plan_and_preprocess -d 503 -pl MAGMSPlanner -c 3d_fullres"


def test_the_seed_is_kept_and_decides(home, source):
    folds = set()
    for seed in range(6):
        assert run(source, "--seed", str(seed), "--overwrite") == 0
        made = home / "raw" / NAME
        assert json.loads((made / "dataset.json").read_text())["split"]["seed"] == seed
        folds.add((home / "preprocessed" / NAME / "splits_final.json").read_text())
    assert len(folds) > 1
    with pytest.raises(SystemExit):
        run(source, "--seed", "-1")


def test_incomplete_cases_are_all_named_and_can_be_left_out(home, source, capsys):
    (source / "BraTS2021_00001" / "BraTS2021_00001_t1ce.nii.gz").unlink()
    (source / "BraTS2021_00001" / "BraTS2021_00001_seg.nii.gz").unlink()
    (source / "BraTS2021_00004" / "BraTS2021_00004_t2.nii.gz").unlink()
    message = error(home, source, capsys)
    assert "1 of 5 cases have no label or no image: BraTS2021_00001 lacks T1c and the segmentation: " in message
    assert "--skip-incomplete" in message
    assert run(source, "--skip-incomplete") == 0
    listed = "BraTS2021_00001 lacks T1c and the segmentation; BraTS2021_00004 lacks T2\n"
    assert f"2 of 5 cases are incomplete and left out: {listed}" in capsys.readouterr().out
    labels_made = files_in(home / "raw" / NAME / "labelsTr")
    assert labels_made == [f"BraTS2021_{number:05d}.nii.gz" for number in (0, 2, 3)]


def test_cases_that_lack_images_are_converted_with_what_they_have(home, source, capsys):
    (source / "BraTS2021_00001" / "BraTS2021_00001_t1ce.nii.gz").unlink()
    for part in PARTS[1:]:
        (source / "BraTS2021_00004" / f"BraTS2021_00004_{part}.nii.gz").unlink()
    assert run(source) == 0
    note = "2 of 5 cases are incomplete and converted with the images that they have: BraTS2021_00001 lacks T1c; "
    assert note in capsys.readouterr().out
    images = home / "raw" / NAME / "imagesTr"
    assert len(files_in(images)) == 16
    assert [name for name in files_in(images) if "00004" in name] == ["BraTS2021_00004_0000.nii.gz"]
    np.testing.assert_array_equal(voxels(images / "BraTS2021_00001_0003.nii.gz"), image(13))


def test_all_damaged_cases_are_named_and_nothing_is_written(home, source, capsys):
    damaged = source / "BraTS2021_00000" / "BraTS2021_00000_t1.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    write(source / "BraTS2021_00002" / "BraTS2021_00002_seg.nii.gz", np.zeros((4, 5, 7), np.uint8))
    turned = AFFINE @ np.diag([-1, 1, 1, 1])
    write(source / "BraTS2021_00003" / "BraTS2021_00003_seg.nii.gz", labels(0), turned)
    write(source / "BraTS2021_00004" / "BraTS2021_00004_seg.nii.gz", labels(0, 1, 3, 9))
    message = error(home, source, capsys)
    assert "nothing written, 4 of 5 cases failed" in message
    assert "BraTS2021_00000: BraTS2021_00000_t1.nii.gz (T1) is damaged" in message
    assert "BraTS2021_00002: BraTS2021_00002_seg.nii.gz (label) has 4x5x7 voxels" in message
    assert "BraTS2021_00003_seg.nii.gz (label) is oriented RPS, BraTS2021_00003_flair.nii.gz (FLAIR) LPS" in message
    assert "BraTS2021_00004_seg.nii.gz has the values 3, 9: BraTS labels have 0, 1, 2, 4" in message


def test_an_existing_dataset_is_replaced_only_on_request_and_only_by_a_complete_one(home, source, capsys):
    assert run(source) == 0
    (home / "raw" / NAME / "old").touch()
    assert "exists already" in error(home, source, capsys)
    damaged = source / "BraTS2021_00000" / "BraTS2021_00000_t1.nii.gz"
    content = damaged.read_bytes()
    damaged.write_bytes(b"")
    assert "is damaged" in error(home, source, capsys, "--overwrite")
    damaged.write_bytes(content)
    assert run(source, "--overwrite") == 0
    assert not (home / "raw" / NAME / "old").exists()
    assert [path.name for path in (home / "raw").iterdir()] == [NAME]


def test_splits_of_a_dataset_whose_images_are_elsewhere_are_kept(home, source, capsys):
    splits = home / "preprocessed" / NAME / "splits_final.json"
    splits.parent.mkdir(parents=True)
    splits.write_text("[]")
    assert f"{splits} exists already" in error(home, source, capsys)
    assert splits.read_text() == "[]"


@pytest.mark.parametrize("inside", ["", "download"])
def test_a_source_is_not_replaced_by_what_is_made_from_it(home, source, capsys, inside):
    target = home / "raw" / NAME
    target.parent.mkdir(parents=True)
    source.rename(target)
    if inside:
        (target / inside).mkdir()
        for case in target.glob("BraTS*"):
            case.rename(target / inside / case.name)
    assert f"lies in {target}, which would be replaced" in error(home, target / inside, capsys, "--overwrite")


def test_an_interruption_leaves_nothing(home, source, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "_dataset_json", interrupt)
    assert run(source) == 130
    assert list((home / "raw").iterdir()) == []
    assert not (home / "preprocessed").exists()


def test_an_id_of_another_dataset(home, source, capsys):
    (home / "results" / "Dataset503_Hearts").mkdir(parents=True)
    assert "id 503 belongs to Dataset503_Hearts in nnUNet_results" in error(home, source, capsys)


def test_the_source_is_named_with_what_it_holds(home, tmp_path, capsys):
    for name in "fedcba":
        (tmp_path / "other" / name).mkdir(parents=True)
    message = error(home, tmp_path / "other", capsys)
    assert "looked for CASE/CASE_flair.nii.gz" in message
    assert "found a, b, c, d and 2 more" in message
    assert "nowhere does not exist" in error(home, tmp_path / "nowhere", capsys)


def test_a_raw_folder_that_cannot_be_written_to(home, source, capsys):
    home.mkdir()
    (home / "raw").touch()
    assert "cannot write to nnUNet_raw" in error(home, source, capsys)


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".a", "a\nb", "a\\b"])
def test_names_that_could_lead_elsewhere(tmp_path, name):
    with pytest.raises(InputError, match="rename its files"):
        SourceCase(name, "p", (), tmp_path)


def test_nnunet_finds_nothing_wrong(home, source, monkeypatch):
    from multiprocessing import get_context
    from multiprocessing.pool import ThreadPool

    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    assert run(source) == 0
    monkeypatch.setattr(get_context("spawn"), "Pool", ThreadPool)
    verify_dataset_integrity(str(home / "raw" / NAME), 1)
