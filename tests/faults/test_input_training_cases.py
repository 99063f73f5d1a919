"""Training cases that lack a file, or have a black image in its place."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.modalities import Modalities
from magms_nnunet.nnunet.raw_dataset import incomplete_files
from magms_nnunet.planners import MAGMSPlanner
from magms_nnunet.preprocessing import incomplete_cases
from magms_nnunet.preprocessing.training_images import check_training_images
from tests.faults.tiny import NAMES, SHAPE, T1, T1C, T2, give
from tests.integration.workspace import ENDING, write_image

DATASET = "Dataset997_Gaps"
ALL = range(len(NAMES))
GAPS = {"p1": ALL, "p2": [c for c in ALL if c != T1], "p3": ALL, "p4": [c for c in ALL if c not in (T1C, T2)]}
SAYS = (
    r"^2 of 4 training cases are incomplete: p2 lacks T1; p4 lacks T1c and T2: plan and preprocess with "
    r"-pl MAGMSPlanner and train with -tr AnySubsetTrainer, or add the files$"
)


def describe(**more) -> dict:
    return {
        "channel_names": {str(channel): name for channel, name in enumerate(NAMES)},
        "labels": {"background": 0, "a": 1},
        "numTraining": 4,
        "file_ending": ENDING,
        **more,
    }


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A raw dataset with gaps, and the fingerprint of an earlier, complete one."""
    for folder in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{folder}", str(tmp_path / folder))
    raw, preprocessed = tmp_path / "raw" / DATASET, tmp_path / "preprocessed" / DATASET
    give(raw / "imagesTr", GAPS)
    preprocessed.mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps(describe()))
    (preprocessed / "dataset_fingerprint.json").write_text("{}")
    return raw


@pytest.mark.fault(2)
def test_planners_of_nnunet_name_training_cases_that_lack_files(raw):
    with pytest.raises(InputError, match=SAYS):
        ExperimentPlanner(DATASET).plan_experiment()


@pytest.mark.fault(4)
def test_planner_warns_of_black_images(raw):
    """In place of what is missing, and of a label, which may be empty."""
    for case, channels in GAPS.items():
        for channel in set(ALL) - set(channels):
            write_image(raw / f"imagesTr/{case}_{channel:04d}{ENDING}", np.zeros(SHAPE, np.float32))
        write_image(raw / f"labelsTr/{case}{ENDING}", np.zeros(SHAPE, np.uint8))
    planner = MAGMSPlanner(DATASET)
    says = (
        rf"^one value everywhere: p2: p2_0001{ENDING} \(T1\); p4: p4_0002{ENDING} \(T1c\), p4_0003{ENDING} \(T2\): the "
    )
    with pytest.warns(InputWarning, match=says):
        check_training_images(planner.dataset, Modalities(NAMES))


@pytest.mark.fault(4)
def test_planner_warns_of_black_images_of_cases_that_lack_others(raw):
    write_image(raw / f"imagesTr/p4_0001{ENDING}", np.zeros(SHAPE, np.float32))
    for case in GAPS:
        write_image(raw / f"labelsTr/{case}{ENDING}", np.ones(SHAPE, np.uint8))
    write_image(raw / f"imagesTr/p2_0003{ENDING}", np.ones(SHAPE, np.float32))
    planner = MAGMSPlanner(DATASET)
    says = rf"^one value everywhere: p2: p2_0003{ENDING} \(T2\); p4: p4_0001{ENDING} \(T1\): the "
    with pytest.warns(InputWarning, match=says):
        check_training_images(planner.dataset, Modalities(NAMES))


@pytest.mark.fault(2)
def test_files_that_are_listed_and_missing(raw):
    listed = {
        case: {"images": [str(raw / f"imagesTr/{case}_{c:04d}{ENDING}") for c in ALL], "label": "x"} for case in GAPS
    }
    (raw / "dataset.json").write_text(json.dumps(describe(dataset=listed)))
    with pytest.raises(InputError, match=rf"^p2: .*p2_0001{ENDING} does not exist: correct dataset\.json "):
        MAGMSPlanner(DATASET)


class Extractor:
    """nnU-Net's, after it has read the images of cases that all lack the same one."""

    def __init__(self, dataset_json: dict):
        self.dataset = {name: {"images": [f"{name}_0000.nii.gz"]} for name in ("p1", "p2")}
        self.dataset_json = dataset_json

    def run(self, overwrite_existing: bool = False) -> dict:
        raise IndexError("list index out of range")


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("dataset_json", "error", "says"),
    [
        (describe(), InputError, "^no training case has T1 or T1c or T2: add images, or remove it from dataset.json$"),
        (describe(channel_names={"0": "T1"}), IndexError, "^list index out of range$"),  # a fault of another kind
        ({"channel_names": 3}, IndexError, "^list index out of range$"),  # nothing that we could tell
    ],
)
def test_all_cases_lack_the_same_file(dataset_json, error, says):
    class Fresh(Extractor):
        run = Extractor.run

    incomplete_cases.change_fingerprint(SimpleNamespace(DatasetFingerprintExtractor=Fresh), ())
    with pytest.raises(error, match=says):
        Fresh(dataset_json).run()


def test_one_file_may_hold_all_channels():
    cases = {name: {"images": [f"{name}_0000.png"]} for name in ("p1", "p2")}
    assert incomplete_files(cases, describe()) is None


@pytest.fixture
def preprocessed(make_trainer, tmp_path):
    """preprocessed(channels of each case, black=(case, channel)) -> a trainer whose fold has these cases."""

    def preprocessed(channels: dict[str, int], black: tuple[str, int] | None = None):
        trainer = make_trainer()
        folder = tmp_path / "preprocessed/Dataset999_Nothing"
        for name, number in channels.items():
            images = np.random.default_rng(0).normal(size=(number, 12, 13, 14)).astype(np.float32)
            if black and black[0] == name:
                images[black[1]] = 0
            labels = np.zeros((1, 12, 13, 14), np.int8)
            nnUNetDatasetBlosc2.save_case(images, labels, {}, str(folder / "tiny" / name))
        *train, val = channels
        (folder / "splits_final.json").write_text(json.dumps([{"train": train, "val": [val]}]))
        return trainer

    return preprocessed


@pytest.mark.fault(2)
def test_trainer_names_preprocessed_cases_that_lack_channels(preprocessed):
    trainer = preprocessed({"p1": 3, "p2": 2, "p3": 1})
    says = r"^2 preprocessed cases do not have all modalities: p2 \(2 of 3 channels\), p3 \(1 of 3 channels\): add "
    with pytest.raises(InputError, match=says):
        trainer.get_tr_and_val_datasets()


@pytest.mark.fault(4)
def test_trainer_warns_of_black_images(preprocessed):
    trainer = preprocessed({"p1": 3, "p2": 3, "p3": 3}, black=("p2", 2))
    trainer.get_tr_and_val_datasets()
    (line,) = (line for line in Path(trainer.log_file).read_text().splitlines() if "warning" in line)
    assert "magms_nnunet: warning: 1 cases hold one value everywhere in a modality: p2 (T1c): " in line
