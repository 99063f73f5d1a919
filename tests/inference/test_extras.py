"""``--save_probabilities nifti`` and ``--save_uncertainty``, of one fold and of several."""

from shutil import copytree

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from magms_nnunet.cli.predict import main
from magms_nnunet.errors import InputError
from magms_nnunet.inference.extras import Extras
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.inference.probabilities import channels_of_regions
from tests.faults.tiny import model, voxels  # noqa: F401
from tests.integration.workspace import QUIET, files_in, read_voxels, write_image

MAPS = {"probability_label1", "probability_label2"}
FLAGS = ("--save_probabilities", "nifti", "--save_uncertainty")


@pytest.fixture
def two_folds(model, tmp_path):  # noqa: F811
    """The model with a second fold, whose weights are others."""
    folder = copytree(model, tmp_path / model.name)
    copytree(folder / "fold_0", folder / "fold_1")
    path = folder / "fold_1/checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["network_weights"] = {name: -value for name, value in checkpoint["network_weights"].items()}
    torch.save(checkpoint, path)
    return folder


def test_maps_lie_on_the_grid_of_the_segmentation_and_older_ones_go(model, tmp_path, capfd):  # noqa: F811
    write_image(tmp_path / "in/p[1]_0000.nii.gz", voxels(0))
    out = tmp_path / "out"
    arguments = ("-i", tmp_path / "in", "-o", out, "-m", model, "-f", 0, "--disable_tta", *QUIET)
    assert main([*map(str, (*arguments, *FLAGS, "--c"))]) == 0
    assert {path.name for path in out.iterdir() if path.is_dir()} == {*MAPS, "uncertainty"}
    maps = [sitk.ReadImage(out / name / "p[1].nii.gz") for name in sorted(MAPS)]
    labels = sitk.ReadImage(out / "p[1].nii.gz")
    for image in maps:
        assert (image.GetSize(), image.GetDirection()) == (labels.GetSize(), labels.GetDirection())
        np.testing.assert_allclose(image.GetSpacing() + image.GetOrigin(), labels.GetSpacing() + labels.GetOrigin())
    p1, p2 = map(sitk.GetArrayFromImage, maps)
    voxels_of = sitk.GetArrayFromImage(labels)
    of_classes = np.stack([1 - p1 - p2, p1, p2])
    chosen = np.take_along_axis(of_classes, voxels_of[None].astype(int), 0)[0]
    np.testing.assert_allclose(chosen, of_classes.max(0), atol=1e-6)
    before = (out / "p[1].nii.gz").stat().st_mtime_ns
    assert main([*map(str, (*arguments, *FLAGS, "--c"))]) == 0
    assert (out / "p[1].nii.gz").stat().st_mtime_ns == before
    assert main([*map(str, arguments)]) == 0
    assert not list(out.glob("*/*.nii.gz"))


def test_folds_that_differ_disagree(two_folds, tmp_path, capfd):
    write_image(tmp_path / "flair.nii.gz", voxels(0))
    arguments = ("--image", f"F={tmp_path / 'flair.nii.gz'}", "-o", tmp_path / "out/seg.nii.gz", "-m", two_folds)
    window = ("-device", "cpu", "--disable_tta", "--disable_progress_bar")
    assert main([*map(str, (*arguments, "-f", 0, 1, *window, *FLAGS))]) == 0
    maps = {f"seg_{name}.nii.gz" for name in {*MAPS, "uncertainty", "disagreement"}}
    assert files_in(tmp_path / "out") == maps | {"seg.nii.gz", "seg.json"}
    found = read_voxels(tmp_path / "out/seg_disagreement.nii.gz")
    assert found.min() >= 0
    assert 0.001 < found.max() <= np.log(3)
    given = {"FLAIR": tmp_path / "flair.nii.gz"}
    of_folds = [
        Predictor(two_folds, folds=[fold], device="cpu", mirroring=False).predict_patient(given, probabilities=True)
        for fold in (0, 1)
    ]
    mean = np.mean([result.probabilities for result in of_folds], 0)
    entropy, *entropies = (
        -(p * np.log(np.clip(p, 1e-12, 1))).sum(0) for p in (mean, *(result.probabilities for result in of_folds))
    )
    np.testing.assert_allclose(found, entropy - np.mean(entropies, 0), atol=2e-4)
    both = Predictor(two_folds, device="cpu", mirroring=False).predict_patient(given, uncertainty=True)
    np.testing.assert_allclose(sitk.GetArrayFromImage(both.disagreement), found, atol=1e-6)
    assert both.probabilities is None


def test_a_region_is_a_sigmoid_and_a_label_a_class():
    labels = {"background": 0, "edema": 1, "core": 2, "ignore": 3}
    assert channels_of_regions({"labels": labels}) == {"edema": (1,), "core": (2,)}
    regions = {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
    assert channels_of_regions(regions) == {"whole": (0,), "core": (1,)}


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (("whole tumor", "NCR/NET"), ["probability_whole_tumor/p", "probability_NCR_NET/p"]),
        (("a b", "A/b"), ["probability_1_a_b/p", "probability_2_A_b/p"]),
    ],
)
def test_names_of_labels_become_names_of_folders(names, files):
    dataset = {"labels": {"background": 0} | {name: label for label, name in enumerate(names, 1)}}
    extras = Extras(probabilities=True).of_model(dataset | {"file_ending": ".nii.gz"}, folds=1)
    assert extras.files("p") == [f"{file}.nii.gz" for file in files]


def test_photographs_have_no_maps():
    with pytest.raises(InputError, match=r"are for volumes, and this model reads \.png"):
        Extras(probabilities=True).of_model({"labels": {"a": 1}, "file_ending": ".png"}, folds=1)
