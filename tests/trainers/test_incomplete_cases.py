"""Training on cases that lack modalities: what a case lacks cannot matter, and what cannot be is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.errors import InputError
from magms_nnunet.preprocessing.available_modalities import AvailableModalities, available_channels
from magms_nnunet.trainers import AnySubsetTrainer, HeMISTrainer, MAGMSTrainer, MAGTrainer, ModalityDropoutTrainer
from magms_nnunet.training.settings import Settings
from tests.trainers.conftest import LABELS, REGIONS, batch

TRAINERS = [AnySubsetTrainer, HeMISTrainer, MAGMSTrainer, MAGTrainer, ModalityDropoutTrainer]
LACKS_T1 = (True, False, True)
KEYS = ["whole", "gap"]
SHAPE = (3, 18, 17, 16)


def with_gap(trainer):
    trainer._available = AvailableModalities(3, {"gap": LACKS_T1})
    return trainer


def filled(trainer, value, dim=3) -> dict:
    given = batch(trainer, dim)
    given["data"][1, 1] = value
    return {**given, "keys": KEYS}


def gradients(trainer, value, dim=3) -> dict:
    trainer.network.train()
    torch.manual_seed(5)  # of the random subsets
    trainer.train_step(filled(trainer, value, dim))
    return {name: p.grad for name, p in trainer.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_voxels_of_an_absent_modality_change_no_gradient(trainer_class, make_trainer):
    noise, nan = (gradients(with_gap(make_trainer(trainer_class)), value) for value in (7.0, torch.nan))
    for name, gradient in noise.items():
        assert torch.equal(gradient, nan[name]), name
    complete = gradients(make_trainer(trainer_class), 7.0)
    assert noise.keys() == complete.keys()  # else DistributedDataParallel would wait for a gradient


@pytest.mark.parametrize("trainer_class", TRAINERS)
@pytest.mark.parametrize(
    "options",
    [{"dim": 2, **REGIONS}, {"cascade": True, "labels": {**LABELS, "ignore": 3}}],
    ids=["2-D, regions", "cascade, ignore label"],
)
def test_nor_do_they_in_other_configurations(options, trainer_class, make_trainer):
    noise, nan = (
        gradients(with_gap(make_trainer(trainer_class, **options)), value, options.get("dim", 3))
        for value in (7.0, torch.nan)
    )
    for name, gradient in noise.items():
        assert torch.equal(gradient, nan[name]), name


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_a_modality_that_no_sample_of_a_batch_has_leaves_every_parameter_a_gradient(trainer_class, make_trainer):
    trainer = make_trainer(trainer_class)
    complete = gradients(trainer, 7.0)
    trainer._available = AvailableModalities(3, dict.fromkeys(KEYS, LACKS_T1))
    assert gradients(trainer, 7.0).keys() == complete.keys()


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_a_complete_dataset_is_trained_as_ever(trainer_class, make_trainer):
    """Cases without gaps in a dataset that has some take the same step as in one that has none."""
    complete, other = make_trainer(trainer_class), make_trainer(trainer_class)
    other._available = AvailableModalities(3, {"another": LACKS_T1})
    a, b = (gradients(trainer, 1.0) for trainer in (complete, other))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_validation_in_training_sees_no_absent_modality(trainer_class, make_trainer):
    trainer = with_gap(make_trainer(trainer_class))
    trainer.network.eval()
    with torch.no_grad():
        a, b = (trainer.validation_step(filled(trainer, value)) for value in (7.0, torch.nan))
    assert np.array_equal(a["loss"], b["loss"])


def test_a_nan_channel_is_absent_and_a_file_of_nan_is_spoilt():
    images = np.ones(SHAPE, np.float32)
    assert available_channels(images, 3) == (True, True, True)
    images[1] = np.nan
    assert available_channels(images, 3) == LACKS_T1
    images[1, 4:] = 0  # one that is NaN in part is none of ours: the training step names it
    assert available_channels(images, 3) == (True, True, True)
    assert available_channels(np.full_like(images, np.nan), 3) == (True, True, True)


@pytest.fixture
def preprocessed(make_trainer, tmp_path):
    """preprocessed(case=lacking channels, ..., trainer_class=, planner=) -> a trainer whose last case validates."""

    def make(trainer_class=AnySubsetTrainer, **cases):
        trainer = make_trainer(trainer_class)
        trainer.plans_manager.plans["experiment_planner_used"] = "MAGMSPlanner"
        folder = tmp_path / "preprocessed/Dataset999_Nothing"
        for name, lacking in cases.items():
            images = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
            images[list(lacking)] = np.nan
            nnUNetDatasetBlosc2.save_case(images, np.zeros((1, *SHAPE[1:]), np.int8), {}, str(folder / "tiny" / name))
        *train, val = cases
        (folder / "splits_final.json").write_text(json.dumps([{"train": train, "val": [val]}]))
        return trainer

    return make


def test_the_preprocessed_cases_say_what_they_have(preprocessed):
    trainer = preprocessed(p1=(), p2=(1,), p3=(0, 2))
    trainer.get_tr_and_val_datasets()
    given = {"data": torch.zeros(3, 3, 2, 2, 2), "keys": ["p3", "p1", "p2"]}
    assert trainer.available(given).tolist() == [[False, True, False], [True] * 3, [True, False, True]]
    assert "p3" not in str(trainer._available)  # nnU-Net writes it into debug.json


@pytest.mark.parametrize(("cap", "weights"), [(1, [1, 1, 1]), (2.5, [1, 2.5, 1.5])])
def test_rare_modalities_count_more_where_that_is_set(cap, weights, preprocessed, monkeypatch):
    monkeypatch.setattr(MAGMSTrainer, "settings", Settings(rarity_cap=cap))
    trainer = preprocessed(MAGMSTrainer, p1=(), p2=(1,), p3=(1, 2), p4=())
    trainer.get_tr_and_val_datasets()
    trainer.on_train_epoch_start()
    assert trainer.loss.modality_weights == weights


def test_a_modality_that_no_training_case_has_is_refused(preprocessed):
    with pytest.raises(InputError, match=r"^no training case of this fold has T1: train another fold, or all$"):
        preprocessed(p1=(1,), p2=(1,), p3=()).get_tr_and_val_datasets()


def test_an_image_that_has_come_since_is_named(preprocessed, tmp_path):
    trainer = preprocessed(p1=(), p2=(1,), p3=())
    images = tmp_path / "raw/Dataset999_Nothing/imagesTr"
    images.mkdir(parents=True)
    (images / "p2_0001.nii.gz").touch()
    says = r"^p2: p2_0001\.nii\.gz \(T1\) was added after preprocessing: plan and preprocess again$"
    with pytest.raises(InputError, match=says):
        trainer.get_tr_and_val_datasets()


def test_stock_trainers_are_refused_by_name(preprocessed):
    with pytest.raises(InputError, match=r"^nnUNetTrainer needs complete cases, and p2 lacks T1: use -tr AnySubset"):
        preprocessed(nnUNetTrainer, p1=(), p2=(1,), p3=()).get_tr_and_val_datasets()
    preprocessed(nnUNetTrainer, p4=(), p5=(), p6=()).get_tr_and_val_datasets()


@pytest.mark.parametrize("trainer_class", [AnySubsetTrainer, MAGMSTrainer])
def test_the_validation_predicts_from_what_a_case_has(trainer_class, preprocessed):
    trainer = preprocessed(trainer_class, p1=(), p2=(1,))
    trainer.network.eval()
    seen = []
    with trainer._masking_absent_in_validation():
        dataset = trainer.dataset_class(trainer.preprocessed_dataset_folder, ["p1", "p2"])
        for case in ("p2", "p1"):
            images = torch.from_numpy(np.array(dataset.load_case(case)[0][:]))[None, :, :16, :16]
            with torch.no_grad():
                seen.append((images, trainer.network(images)))
    trainer.set_deep_supervision_enabled(True)
    (gap, without), (whole, complete) = seen
    assert not gap[:, 1].any()
    with torch.no_grad():
        assert torch.equal(without[0], trainer.network(gap, torch.tensor([LACKS_T1]))[0])
        assert torch.equal(complete[0], trainer.network(whole)[0])
    assert Path(trainer.preprocessed_dataset_folder).is_dir()
