import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.errors import CaseError
from magms_nnunet.evaluation.labelled_cases import LabelledCase
from magms_nnunet.evaluation.score_logits import (
    mean_entropy_nats,
    read_reference,
    score_logits,
    slice_of_images,
    squeeze_2d,
)
from magms_nnunet.images.cases import Case
from magms_nnunet.metrics.dice import regions_from_dataset_json
from magms_nnunet.metrics.scores import Reference

SHAPE, SPACING_MM = (4, 6, 5), (3.0, 2.0, 1.0)  # z, y, x
LABELS = {"background": 0, "edema": 1, "core": 2}
REGIONS = {"background": 0, "whole": [1, 2], "core": [2]}
LN2 = math.log(2)


def plans(transpose=(0, 1, 2)):
    """Plans under which nothing is resampled."""
    return {
        "label_manager": "LabelManager",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose),
        "transpose_backward": [transpose.index(axis) for axis in range(3)],
        "configurations": {
            "tiny": {
                "architecture": {},
                "spacing": [SPACING_MM[axis] for axis in transpose],
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {
                    "is_seg": False,
                    "order": 1,
                    "order_z": 0,
                    "force_separate_z": None,
                },
            }
        },
    }


def dataset_json(labels=LABELS, **more):
    channels = {"0": "FLAIR", "1": "T1", "2": "T1c"}
    return {"channel_names": channels, "labels": labels, "file_ending": ".nii.gz", **more}


def reference_labels():
    """Edema in 6 voxels of slice 1, and core in 2 of slice 2, where there is edema in 2 more."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 1:4, 1:3] = 1
    labels[2, 2, 1:3] = 2
    labels[2, 3, 1:3] = 1
    return labels


IMAGES = {"spacing": SPACING_MM[::-1], "origin": (7.0, 8.0, 9.0), "direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)}


def write(path, array, spacing_mm=SPACING_MM):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    sitk.WriteImage(image, str(path))
    return path


def labelled_case(tmp_path, labels, spacing_mm=SPACING_MM):
    return LabelledCase(Case("p1", {0: tmp_path / "p1_0000.nii.gz"}), write(tmp_path / "p1.nii.gz", labels, spacing_mm))


def logits_of(labels, transpose=(0, 1, 2), box=None):
    """Sure of every label; in the axes and the crop of the preprocessed case, with the properties that tell of it."""
    labels = labels.transpose(transpose)
    box = box or [(0, size) for size in labels.shape]
    crop = labels[tuple(slice(*edges) for edges in box)]
    logits = np.stack([20.0 * (crop == value) for value in range(3)]).astype(np.float32)
    return logits, {
        "spacing": list(SPACING_MM),
        "sitk_stuff": IMAGES,
        "shape_before_cropping": labels.shape,
        "bbox_used_for_cropping": [list(edges) for edges in box],
        "shape_after_cropping_and_before_resampling": crop.shape,
    }


def score(tmp_path, labels, predicted, transpose=(0, 1, 2), box=None, dataset=None, segmentations=None):
    logits, properties = logits_of(predicted, transpose, box)
    predictions = [("FLAIR", logits), ("FLAIR+T1c", np.zeros_like(logits))]  # the second: background everywhere
    dataset = dataset or dataset_json()
    labelled = labelled_case(tmp_path, labels)
    return score_logits(labelled, predictions, properties, plans(transpose), "tiny", dataset, segmentations)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_entropy_of_a_guess_is_ln_of_the_number_of_classes(classes):
    assert mean_entropy_nats(torch.full((classes, 2, 3, 4), 7.0), False) == pytest.approx(math.log(classes), rel=1e-6)


def test_entropy_of_half_is_ln_2_in_every_region():
    assert mean_entropy_nats(torch.zeros(3, 2, 3, 4), True) == pytest.approx(LN2, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("regions", [False, True])
def test_entropy_of_certainty_is_0_and_not_nan(dtype, regions):
    logits = torch.full((2, 2, 2, 2), -1e4, dtype=dtype)
    logits[0] = 1e4
    assert mean_entropy_nats(logits, regions) == 0


@pytest.mark.parametrize("regions", [False, True])
def test_entropy_is_a_mean_over_voxels_and_regions(regions):
    """A quarter of the voxels is certain, the others are a guess. In regions: one voxel of eight outputs."""
    logits = torch.zeros(2, 1, 2, 2)
    logits[:, 0, 0, 0] = torch.tensor([100.0, -100.0])
    assert mean_entropy_nats(logits, regions) == pytest.approx(0.75 * LN2, rel=1e-6)
    logits[1, 0, 0, 0] = 0  # still certain among classes, but a guess of its own as a region
    assert mean_entropy_nats(logits, regions) == pytest.approx((7 / 8 if regions else 0.75) * LN2, rel=1e-6)


def test_entropy_of_one_and_three_quarters():
    """p = 1/4 by a logit of -ln 3: H = 2 ln 2 - 3/4 ln 3."""
    logits = torch.tensor([-math.log(3), 0.0]).view(2, 1, 1, 1)
    expected = 2 * LN2 - 0.75 * math.log(3)
    assert mean_entropy_nats(logits, False) == pytest.approx(expected, rel=1e-6)
    assert mean_entropy_nats(logits[:1], True) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("box", [None, "cropped"])
def test_scores_by_hand(tmp_path, transpose, box):
    labels = reference_labels()
    predicted = labels.copy()
    predicted[1, 1, 1:3] = 0  # 4 of 6 voxels of edema in slice 1 are left
    predicted[2, 3, 2] = 2
    if box:
        box = [((1, 3), (1, 4), (1, 4))[axis] for axis in transpose]
    scores = score(tmp_path, labels, predicted, transpose, box)
    assert list(scores) == ["FLAIR", "FLAIR+T1c"]
    edema, core = scores["FLAIR"].rows
    voxel_mm3 = 6.0
    assert (edema["case"], edema["subset"], edema["region"], core["region"]) == ("p1", "FLAIR", "edema", "core")
    assert edema["dice"] == pytest.approx(2 * 5 / (8 + 5))
    assert (edema["reference_mm3"], edema["predicted_mm3"]) == (8 * voxel_mm3, 5 * voxel_mm3)
    assert core["dice"] == pytest.approx(2 * 2 / (2 + 3))
    assert core["hd95_mm"] == pytest.approx(2 * 0.9)  # distances 0 0 2 mm: numpy's percentile 95 of the farther side
    assert scores["FLAIR"].entropy_nats == pytest.approx(0, abs=1e-5)
    background = scores["FLAIR+T1c"]
    assert [row["dice"] for row in background.rows] == [0, 0]
    assert [row["presence"] for row in background.rows] == ["reference", "reference"]
    assert background.rows[0]["hd95_mm"] == pytest.approx(math.hypot(4 * 3, 6 * 2, 5 * 1))
    assert background.entropy_nats == pytest.approx(math.log(3), rel=1e-6)
    np.testing.assert_array_equal(scores["FLAIR"].labels, predicted[2])  # where edema and core are, not most edema
    assert not background.labels.any()


def test_regions_are_scored_as_regions(tmp_path):
    labels = reference_labels()
    dataset = dataset_json(REGIONS, regions_class_order=[1, 2])
    outputs = np.stack([np.where(labels > 0, 20.0, -20.0), np.where(labels == 2, 20.0, -20.0)]).astype(np.float32)
    _, properties = logits_of(labels)
    labelled = labelled_case(tmp_path, labels)
    scores = score_logits(labelled, [("T1", outputs)], properties, plans(), "tiny", dataset, None)["T1"]
    assert {row["region"]: row["dice"] for row in scores.rows} == {"whole": 1, "core": 1}
    assert {row["region"]: row["reference_mm3"] for row in scores.rows} == {"whole": 60, "core": 12}
    assert scores.entropy_nats == pytest.approx(0, abs=1e-6)


def test_labels_of_sixteen_bits_are_read_as_they_are(tmp_path):
    labels = reference_labels().astype(np.uint16)
    labels[labels == 1], labels[labels == 2] = 300, 65535
    dataset = dataset_json({"background": 0, "edema": 300, "core": 65535})
    labelled = labelled_case(tmp_path, labels)
    reader = PlansManager(plans()).image_reader_writer_class()
    read, _ = read_reference(labelled, reader, dataset)
    np.testing.assert_array_equal(read, labels)
    prepared = Reference(read, regions_from_dataset_json(dataset), SPACING_MM)
    assert [row["dice"] for row in prepared.score("p1", "T1", labels)] == [1, 1]
    files = {0: write(tmp_path / "p1_0000.nii.gz", np.zeros(SHAPE, np.float32))}
    shown = slice_of_images(LabelledCase(Case("p1", files), labelled.reference), (0,), plans(), dataset)
    np.testing.assert_array_equal(shown["reference"], labels[2])


def test_voxels_that_the_reference_ignores_do_not_count(tmp_path):
    labels, predicted = reference_labels(), reference_labels()
    labels[3] = 3
    predicted[3] = 1
    scores = score(tmp_path, labels, predicted, dataset=dataset_json({**LABELS, "ignore": 3}))
    assert [row["dice"] for row in scores["FLAIR"].rows] == [1, 1]
    assert [row["region"] for row in scores["FLAIR"].rows] == ["edema", "core"]


def test_segmentations_are_written_on_the_grid_of_the_images(tmp_path):
    labels = reference_labels()
    score(tmp_path, labels, labels, (2, 0, 1), segmentations=tmp_path / "segmentations")
    for subset, expected in (("FLAIR", labels), ("FLAIR+T1c", labels * 0)):
        image = sitk.ReadImage(str(tmp_path / f"segmentations/{subset}/p1.nii.gz"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
        assert image.GetSpacing() == pytest.approx(SPACING_MM[::-1])
        assert image.GetOrigin() == IMAGES["origin"]


def test_labels_that_rounding_has_moved_are_what_they_were(tmp_path):
    labels = reference_labels()
    moved = labels.astype(np.float32)
    moved[labels == 1] = np.float32(0.99999994)
    moved[labels == 2] = np.float32(2.0000002)
    for folder in ("whole", "moved"):
        (tmp_path / folder).mkdir()
    expected = score(tmp_path / "whole", labels, reference_labels())
    found = score(tmp_path / "moved", moved, reference_labels())
    assert {subset: scores.rows for subset, scores in found.items()} == {
        subset: scores.rows for subset, scores in expected.items()
    }


@pytest.mark.parametrize(("value", "shown"), [(5, "[5]"), (-1, "[-1]"), (0.5, "[0.5] (not whole numbers)")])
def test_labels_that_dataset_json_does_not_know(tmp_path, value, shown):
    labels = reference_labels().astype(np.float32)
    labels[0, 0, 0] = value
    with pytest.raises(CaseError) as caught:
        score(tmp_path, labels, reference_labels())
    assert str(caught.value) == (
        f"p1: reference p1.nii.gz has labels {shown}, dataset.json knows [0, 1, 2]: convert it first"
    )


@pytest.mark.parametrize(
    ("grid", "spacing_mm", "problem"),
    [
        ((4, 6, 6), SPACING_MM, "has 6x6x4 voxels, p1_0000.nii.gz has 5x6x4: resample it to the images' grid"),
        ((6, 4, 5), SPACING_MM, "has 5x4x6 voxels, p1_0000.nii.gz has 5x6x4: resample it to the images' grid"),
        (SHAPE, (3.0, 2.0, 1.5), "has a spacing of 1.5x2x3 mm, p1_0000.nii.gz of 1x2x3 mm: resample it to the images'"),
    ],
)
@pytest.mark.parametrize("transpose", [(0, 1, 2), (1, 0, 2)])
def test_a_reference_on_another_grid(tmp_path, transpose, grid, spacing_mm, problem):
    logits, properties = logits_of(reference_labels(), transpose)
    labelled = labelled_case(tmp_path, np.zeros(grid, np.uint8), spacing_mm)
    with pytest.raises(CaseError, match=rf"p1: p1.nii.gz \(reference\) {problem}"):
        score_logits(labelled, [("T1", logits)], properties, plans(transpose), "tiny", dataset_json(), None)


@pytest.mark.parametrize(("spacing_mm", "tolerance"), [(1.0003, 1e-3), (1.1, 0.3)])
def test_a_spacing_that_differs_by_less_than_the_tolerance_is_the_same(tmp_path, spacing_mm, tolerance):
    """Of five voxels, the outer ones end 0.00075 and 0.25 mm further out."""
    logits, properties = logits_of(reference_labels())
    labelled = labelled_case(tmp_path, reference_labels(), (3.0, 2.0, spacing_mm))
    scores = score_logits(labelled, [("T1", logits)], properties, plans(), "tiny", dataset_json(), None, tolerance)
    assert [row["dice"] for row in scores["T1"].rows] == [1, 1]


def test_a_reference_that_cannot_be_read(tmp_path):
    logits, properties = logits_of(reference_labels())
    (tmp_path / "p1.nii.gz").write_bytes(b"garbage")
    with pytest.raises(CaseError, match=r"reference p1.nii.gz cannot be read \(.*\): replace it") as caught:
        score_logits(
            LabelledCase(Case("p1", {}), tmp_path / "p1.nii.gz"),
            [("T1", logits)],
            properties,
            plans(),
            "tiny",
            dataset_json(),
            None,
        )
    assert "\n" not in str(caught.value)


def test_2d_images_are_measured_in_their_plane(tmp_path):
    """nnU-Net reads them as one slice of 999 times their pixels' size."""
    labels = np.zeros((6, 5), np.uint8)
    labels[2:4, 1:3] = 1
    path = write(tmp_path / "p1.mha", labels, (2.0, 1.0))
    logits = np.zeros((3, 1, 6, 5), np.float32)
    logits[0] = 1
    properties = {
        "spacing": [1998.0, 2.0, 1.0],
        "sitk_stuff": {"spacing": (1.0, 2.0), "origin": (0.0, 0.0), "direction": (1.0, 0.0, 0.0, 1.0)},
        "shape_before_cropping": (1, 6, 5),
        "bbox_used_for_cropping": [[0, 1], [0, 6], [0, 5]],
        "shape_after_cropping_and_before_resampling": (1, 6, 5),
    }
    settings = plans()
    settings["configurations"]["tiny"]["spacing"] = [2.0, 1.0]
    dataset = dataset_json(file_ending=".mha")
    labelled = LabelledCase(Case("p1", {0: path}), path)
    scores = score_logits(labelled, [("T1", logits)], properties, settings, "tiny", dataset, tmp_path / "out")["T1"]
    edema, core = scores.rows
    assert (edema["reference_mm3"], edema["predicted_mm3"], edema["presence"]) == (4 * 2, 0, "reference")
    assert edema["hd95_mm"] == pytest.approx(math.hypot(6 * 2, 5 * 1))  # the diagonal, without the 1998 mm
    assert core["presence"] == "none"
    assert scores.labels.shape == (6, 5)
    assert sitk.ReadImage(str(tmp_path / "out/T1/p1.mha")).GetSize() == (5, 6)
    shown = slice_of_images(labelled, (0,), settings, dataset)
    assert shown["images"].shape == (1, 6, 5)
    assert shown["spacing_mm"].tolist() == [2, 1]


def test_squeezing():
    labels = np.zeros((1, 3, 4))
    assert squeeze_2d(labels, [999, 2, 1])[0].shape == (3, 4)
    assert squeeze_2d(labels, [999, 2, 1])[1] == (2, 1)
    assert squeeze_2d(np.zeros((2, 3, 4)), [3, 2, 1])[1] == (3, 2, 1)
