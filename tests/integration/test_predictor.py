"""``magms_nnunet.Predictor``: what the command does, from Python and one patient at a time."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet import Predictor
from magms_nnunet.errors import InputError
from tests.integration.workspace import ENDING

ROTATED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@pytest.fixture(scope="module")
def predictor(workspace):
    return Predictor(workspace.model(), folds=(0,), device="cpu")


@pytest.fixture(scope="module")
def files(workspace, tmp_path_factory):
    """Modality -> file of case5, away from the origin, rotated, with three different spacings."""
    folder = tmp_path_factory.mktemp("rotated")
    files = {"FLAIR": folder / f"case5_0000{ENDING}", "T1c": folder / f"case5_0002{ENDING}"}
    for path in files.values():
        image = sitk.ReadImage(str(workspace.test / path.name))
        image.SetSpacing((0.9, 1.1, 1.7))
        image.SetOrigin((-12.0, 30.5, 7.0))
        image.SetDirection(ROTATED)
        sitk.WriteImage(image, str(path))
    return files


@pytest.fixture(scope="module")
def patient(predictor, files):
    """The result from FLAIR and T1c, by path."""
    return predictor.predict_patient(files, probabilities=True)


@pytest.fixture(scope="module")
def segmentation(patient):
    return patient.segmentation


def as_array(path):
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]


def test_segmentation_lies_on_the_grid_of_the_images(patient, files):
    segmentation = patient.segmentation
    image = sitk.ReadImage(str(files["T1c"]))
    assert segmentation.GetSize() == image.GetSize()
    assert segmentation.GetSpacing() == pytest.approx(image.GetSpacing())
    assert segmentation.GetOrigin() == pytest.approx(image.GetOrigin())
    assert segmentation.GetDirection() == pytest.approx(ROTATED)
    assert np.ptp(patient.probabilities, axis=(1, 2, 3)).min() > 1e-2  # the images matter


@pytest.mark.parametrize("read", [str, lambda path: sitk.ReadImage(str(path)), as_array], ids=["str", "image", "array"])
def test_path_image_and_array_give_the_same(read, predictor, files, patient):
    images, segmentation = {name: read(path) for name, path in files.items()}, patient.segmentation
    again = predictor.predict_patient(images, probabilities=True)
    assert (again.probabilities == patient.probabilities).all()
    result = predictor.predict(images)
    assert (sitk.GetArrayFromImage(result) == sitk.GetArrayFromImage(segmentation)).all()
    assert result.GetSpacing() == pytest.approx(segmentation.GetSpacing())
    if read is not as_array:  # an array has no origin and direction
        assert result.GetDirection() == pytest.approx(ROTATED)


def test_command_writes_the_same(predict, files, segmentation, tmp_path):
    assert predict(files["T1c"].parent, tmp_path / "out") == 0
    written = sitk.ReadImage(str(tmp_path / "out" / f"case5{ENDING}"))
    assert (sitk.GetArrayFromImage(written) == sitk.GetArrayFromImage(segmentation)).all()
    assert written.GetDirection() == pytest.approx(ROTATED)
    assert written.GetOrigin() == pytest.approx(segmentation.GetOrigin())


def test_json_names_the_model_by_its_fingerprint(predictor, predict, files, tmp_path):
    assert predict(files["T1c"].parent, tmp_path / "out") == 0
    report = json.loads((tmp_path / "out" / "case5.json").read_text())
    assert report["model"]["sha256"] == predictor.model.fingerprint
    assert report["model"]["name"] == "MAGMSTrainer__MAGMSPlans__3d_fullres"


@pytest.mark.parametrize(("given", "runs"), [(["T1c"], [2]), (["F", "T1c"], [0, 2])])
def test_only_the_encoders_of_the_given_modalities_run(given, runs, predictor, workspace):
    calls = [0, 0, 0, 0]

    def count(channel):
        def hook(*_):
            calls[channel] += 1

        return hook

    encoders = predictor.model.network.encoders
    hooks = [encoder.register_forward_hook(count(channel)) for channel, encoder in enumerate(encoders)]
    channels = dict(zip(given, runs, strict=True))
    predictor.predict({name: workspace.test / f"case5_{m:04d}{ENDING}" for name, m in channels.items()})
    for hook in hooks:
        hook.remove()
    assert [channel for channel, number in enumerate(calls) if number] == runs
    assert len({calls[channel] for channel in runs}) == 1


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "no images"),
        ({"PET": "pet.nii.gz"}, "unknown modality 'PET'"),
        ({"F": "a.nii.gz", "FLAIR": "b.nii.gz"}, "FLAIR twice"),
        ({"T1": "nowhere.nii.gz"}, "nowhere.nii.gz"),
    ],
)
def test_wrong_images_are_refused(images, message, predictor):
    with pytest.raises(InputError, match=message):
        predictor.predict(images)


def test_images_on_different_grids_are_refused(predictor, files):
    array, spacing_mm = as_array(files["FLAIR"])
    with pytest.raises(InputError, match="resample them to one grid"):
        predictor.predict({"FLAIR": (array[1:], spacing_mm), "T1c": files["T1c"]})
