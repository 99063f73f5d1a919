"""Voxels that are NaN in training images: planning names the case, and a training ends before it spoils its weights."""

import blosc2
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.modalities import Modalities
from magms_nnunet.preprocessing.training_images import check_training_images
from magms_nnunet.trainers import AnySubsetTrainer, HeMISTrainer, MAGMSTrainer, ModalityDropoutTrainer
from tests.integration.workspace import ENDING, Dataset, Workspace, read_voxels, write_image
from tests.trainers.conftest import batch

T1_FILE = f"case1_0001{ENDING}"


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path, Dataset(modalities=("FLAIR", "T1"), cases=2, test_cases=0))


@pytest.fixture
def check(workspace):
    """check(): what the planner checks."""
    files = {
        f"case{n}": {
            "images": [str(workspace.raw / f"imagesTr/case{n}_000{channel}{ENDING}") for channel in range(2)],
            "label": str(workspace.raw / f"labelsTr/case{n}{ENDING}"),
        }
        for n in range(2)
    }
    return lambda: check_training_images(files, Modalities(("FLAIR", "T1")))


def spoil(workspace, value) -> None:
    image = read_voxels(workspace.raw / "imagesTr" / T1_FILE).astype(np.float32)
    image[3, 4, 5] = value
    write_image(workspace.raw / "imagesTr" / T1_FILE, image)


@pytest.mark.fault(7)
def test_planner_names_the_training_image_with_nan(workspace):
    spoil(workspace, np.nan)
    with pytest.raises(InputError, match=r"case1: case1_0001\.nii\.gz \(T1\) holds 1 NaN or infinite voxels$"):
        workspace.plan("3d_fullres")
    assert not list(workspace.preprocessed.glob("*Plans.json"))


@pytest.mark.fault(7)
@pytest.mark.parametrize(("value", "says"), [(np.inf, "1 NaN or infinite"), (1e30, "values as large as 1e\\+30")])
def test_training_image_that_cannot_be_normalised(value, says, workspace, check):
    spoil(workspace, value)
    with pytest.raises(InputError, match=rf"case1: case1_0001\.nii\.gz \(T1\) holds {says}"):
        check()


@pytest.mark.fault(7)
@pytest.mark.parametrize("names", [("FLAIR", "T1", "T2"), ("FLAIR",)])
def test_training_case_of_more_or_fewer_files_than_modalities(names, workspace):
    """Its file is named, and no modality that it need not be of."""
    spoil(workspace, np.nan)
    images = [str(workspace.raw / f"imagesTr/case1_000{channel}{ENDING}") for channel in range(2)]
    files = {"case1": {"images": images, "label": str(workspace.raw / f"labelsTr/case1{ENDING}")}}
    with pytest.raises(InputError, match=r"case1: case1_0001\.nii\.gz \(image\) holds 1 NaN"):
        check_training_images(files, Modalities(names))


@pytest.mark.fault(7)
def test_label_that_is_cut_off_and_image_that_lies_elsewhere(workspace, check):
    label, path = workspace.raw / "labelsTr" / f"case0{ENDING}", workspace.raw / "imagesTr" / T1_FILE
    check()
    image = sitk.ReadImage(str(path))
    image.SetOrigin((1.0, 0.0, 0.0))
    sitk.WriteImage(image, str(path))
    with pytest.warns(InputWarning, match=r"case1: case1_0001\.nii\.gz \(T1\) begins at 1 0 0 mm"):
        check()
    label.write_bytes(label.read_bytes()[:-20])
    with (
        pytest.warns(InputWarning),
        pytest.raises(InputError, match=r"case0: case0\.nii\.gz \(label\) is truncated or damaged"),
    ):
        check()


@pytest.mark.fault(7)
def test_training_ends_with_the_name_of_the_case_and_leaves_no_weights_that_are_nan(workspace):
    workspace.plan("3d_fullres")
    (file,) = workspace.preprocessed.glob("*_3d_fullres/case0.b2nd")
    voxels = blosc2.open(str(file), mode="r")[:]
    voxels[:] = np.nan
    file.unlink()
    blosc2.asarray(np.ascontiguousarray(voxels), urlpath=str(file))
    with pytest.raises(InputError, match=r"epoch 0: case0: the preprocessed images hold NaN or infinite voxels"):
        workspace.train()
    assert not list(workspace.model().rglob("checkpoint_*.pth"))


@pytest.mark.fault(7)
@pytest.mark.parametrize("trainer_class", [AnySubsetTrainer, MAGMSTrainer, HeMISTrainer, ModalityDropoutTrainer])
@pytest.mark.parametrize("step", ["train_step", "validation_step"])
def test_every_trainer_names_the_samples(trainer_class, step, make_trainer):
    trainer = make_trainer(trainer_class)
    trainer.network.train(step == "train_step")
    trainer.current_epoch = 3
    spoilt = batch(trainer) | {"keys": np.array(["p1", "p2"])}
    spoilt["data"][1] = torch.nan
    with pytest.raises(InputError, match=r"epoch 3: p2: the preprocessed images hold NaN"):
        getattr(trainer, step)(spoilt)


@pytest.mark.fault(7)
def test_training_that_diverged_says_so(make_trainer):
    trainer = make_trainer()
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(torch.inf)
    with pytest.raises(InputError, match=r"epoch 0: the loss is NaN or infinite although all voxels are finite"):
        trainer.train_step(batch(trainer))


@pytest.mark.fault(7)
def test_half_precision_may_leave_out_a_step_but_not_all(make_trainer):
    trainer = make_trainer(ModalityDropoutTrainer)
    with pytest.raises(InputError, match="epoch 0: the loss is NaN"):
        trainer.on_train_epoch_end([{"loss": np.array(np.nan)}] * 2)
    trainer.on_train_epoch_end([{"loss": np.array(np.nan)}, {"loss": np.array(0.5)}])


@pytest.mark.fault(7)
def test_checkpoint_of_weights_that_are_nan_does_not_replace_the_last_good_one(make_trainer, tmp_path):
    trainer, path = make_trainer(), tmp_path / "checkpoint_latest.pth"
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    trainer.save_checkpoint(str(path))
    before = path.read_bytes()
    name, weight = next(iter(trainer.network.named_parameters()))
    with torch.no_grad():
        weight.view(-1)[0] = torch.nan
    with pytest.raises(InputError, match=rf"checkpoint_latest\.pth is not written: {name} holds NaN"):
        trainer.save_checkpoint(str(path))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.glob("*.pth")] == [path.name]
