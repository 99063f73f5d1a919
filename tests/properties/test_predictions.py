"""Whatever the patient: the result lies on the patient's grid, holds declared labels, and no order matters."""

import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from magms_nnunet.cli import predict
from tests.properties.images import CLASSES, NAMES, channels, patients

EXAMPLES = 30


def voxels(image):
    return sitk.GetArrayViewFromImage(image)


@settings(max_examples=EXAMPLES)
@given(patient=patients())
def test_the_result_lies_on_the_patients_grid_and_holds_declared_labels(predictor, patient):
    result = predictor(patient.modalities).predict(patient.images())
    assert result.GetSize() == patient.size
    assert result.GetSpacing() == pytest.approx(patient.spacing_mm, rel=1e-5)
    assert result.GetOrigin() == pytest.approx(patient.origin_mm, rel=1e-5, abs=1e-3)  # NIfTI keeps float32
    assert result.GetDirection() == pytest.approx(patient.direction, abs=1e-5)
    assert set(voxels(result).ravel().tolist()) <= set(range(CLASSES))


@settings(max_examples=EXAMPLES // 2)
@given(patient=patients(), data=st.data())
def test_the_order_of_the_images_does_not_matter(predictor, patient, data):
    images = patient.images()
    shuffled = {name: images[name] for name in data.draw(st.permutations(list(images)))}
    made = predictor(patient.modalities)
    assert (voxels(made.predict(images)) == voxels(made.predict(shuffled))).all()


@settings(max_examples=EXAMPLES // 2)
@given(patient=patients(most_modalities=5), data=st.data())
def test_neither_flags_nor_files_have_an_order(tiny_model, tmp_path_factory, patient, data):
    """The command, with its flags, its modalities and the creation of its files in two orders, beside other files."""
    folder = tmp_path_factory.mktemp("orders")
    model = tiny_model(patient.modalities)
    results = []
    for turn in range(2):
        images, output = folder / f"in{turn}", folder / f"out{turn}"
        images.mkdir()
        for channel in data.draw(st.permutations(range(patient.modalities))):
            sitk.WriteImage(patient.image(channel), str(images / f"patient_{channel:04d}.nii.gz"))
        requested = data.draw(st.permutations([NAMES[channel] for channel in patient.channels]))
        flags = [
            ("-i", images),
            ("-o", output),
            ("-m", model),
            ("-f", 0),
            ("-device", "cpu"),
            ("-step_size", 1),
            ("--disable_tta",),
            ("--disable_progress_bar",),
            ("--modalities", *requested),
        ]
        arguments = [str(word) for flag in data.draw(st.permutations(flags)) for word in flag]
        assert predict.main([*arguments, "--debug"]) == 0
        results.append((output / "patient.nii.gz").read_bytes())
    assert results[0] == results[1]


@settings(max_examples=EXAMPLES // 2)
@given(patient=patients(most_modalities=5), data=st.data())
def test_what_else_a_patient_has_does_not_matter(predictor, patient, data):
    """Logits of a subset in a sweep over many subsets are those of the subset alone."""
    made = predictor(patient.modalities)
    generator = torch.Generator().manual_seed(patient.seed)
    data_of_case = torch.randn(patient.modalities, *(max(n, 4) for n in patient.size), generator=generator)
    subsets = {tuple(sorted(patient.channels)), tuple(sorted(data.draw(channels(patient.modalities))))}
    for subset, logits in made.sweep_logits(data_of_case, sorted(subsets)):
        assert torch.equal(logits, made.predict_logits(data_of_case[list(subset)], subset))
