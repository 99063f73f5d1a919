import numpy as np

from magms_nnunet.evaluation.labelled_cases import LabelledCase
from magms_nnunet.evaluation.score_logits import slice_of_images
from magms_nnunet.images.cases import Case
from tests.evaluation.test_score_logits import SHAPE, dataset_json, plans, reference_labels, write


def images(tmp_path):
    """Each channel a ramp along x, with a bright voxel in the slice with most of the reference."""
    files = {}
    for channel in range(3):
        image = np.tile(np.arange(5, dtype=np.float32), (4, 6, 1)) * (channel + 1) - 2
        image[0] = 1000  # of another slice
        files[channel] = write(tmp_path / f"p1_{channel:04d}.nii.gz", image)
    return LabelledCase(Case("p1", files), write(tmp_path / "p1.nii.gz", reference_labels()))


def test_the_slice_to_look_at(tmp_path):
    shown = slice_of_images(images(tmp_path), (0, 1, 2), plans(), dataset_json())
    assert shown["images"].dtype == np.uint8
    ramp = np.tile(np.array([0, 63, 127, 191, 255], np.uint8), (6, 1))
    for image in shown["images"]:
        np.testing.assert_allclose(image.astype(int), ramp, atol=1)
    np.testing.assert_array_equal(shown["reference"], reference_labels()[2])
    assert shown["spacing_mm"].tolist() == [2, 1]


def test_files_of_other_channels_are_not_read(tmp_path):
    labelled = images(tmp_path)
    expected = slice_of_images(labelled, (0, 1, 2), plans(), dataset_json())["images"][2:]
    labelled.case.files[1].write_bytes(b"garbage")
    del labelled.case.files[0]
    shown = slice_of_images(labelled, (2,), plans(), dataset_json())["images"]
    np.testing.assert_array_equal(shown, expected)


def test_a_flat_image_is_no_division_by_0(tmp_path):
    files = {m: write(tmp_path / f"p1_{m:04d}.nii.gz", np.full(SHAPE, 7, np.float32)) for m in range(3)}
    labelled = LabelledCase(Case("p1", files), write(tmp_path / "p1.nii.gz", reference_labels()))
    assert not slice_of_images(labelled, (0, 1, 2), plans(), dataset_json())["images"].any()
