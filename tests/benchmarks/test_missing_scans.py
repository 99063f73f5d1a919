import numpy as np
import pytest
from missing_scans import complete_only_splits, draw, link_dataset

RATES = [0.2, 0.4, 0.6, 0.8]
CASES = [f"p{patient}_{scan}" for patient in range(1000) for scan in (1, 2)]
PATIENTS = {case: case[:-2] for case in CASES}


def test_modalities_are_missing_at_their_rates():
    channels = draw(CASES, PATIENTS, RATES, 0)
    assert all(channels.values())
    present = np.array([[channel in has for channel in range(4)] for has in channels.values()])
    nothing = np.prod(RATES)  # these patients are drawn again
    assert 1 - present.mean(0) == pytest.approx((np.array(RATES) - nothing) / (1 - nothing), abs=0.04)


def test_the_scans_of_a_patient_lack_the_same_and_the_seed_decides():
    channels = draw(CASES, PATIENTS, RATES, 0)
    assert all(channels[f"p{patient}_1"] == channels[f"p{patient}_2"] for patient in range(1000))
    assert draw(CASES[::-1], PATIENTS, RATES, 0) == channels
    assert draw(CASES, PATIENTS, RATES, 1) != channels


def test_the_linked_dataset_lacks_the_files_of_the_cases_named(tmp_path):
    data, raw = tmp_path / "data", tmp_path / "raw"
    (data / "imagesTr").mkdir(parents=True)
    (data / "labelsTr").mkdir()
    files = {f"{case}_{channel:04d}.nii.gz" for case in ("a", "b_1") for channel in range(2)}
    for name in files:
        (data / "imagesTr" / name).write_text(name)
    for _ in range(2):  # the second time, the first is removed
        assert link_dataset(data, raw, {"b_1": [1]}) == {"a": [0, 1], "b_1": [1]}
        assert {path.name for path in (raw / "imagesTr").iterdir()} == files - {"b_1_0000.nii.gz"}
    assert (raw / "imagesTr/b_1_0001.nii.gz").read_text() == "b_1_0001.nii.gz"
    assert {path.name for path in (data / "imagesTr").iterdir()} == files
    (data / "imagesTr" / "b_1_0001.nii.gz").unlink()  # a patient who has never had it
    assert link_dataset(data, raw, {"b_1": [1]}) == {"a": [0, 1], "b_1": [0]}


def test_complete_cases_only_are_the_training_part_of_splits_that_follow():
    splits = [{"train": ["a", "b", "c"], "val": ["d"]}]
    assert complete_only_splits(splits, {"a": [0, 1], "b": [1], "c": [0, 1]}, 2) == [
        {"train": ["a", "c"], "val": ["d"]}
    ]
