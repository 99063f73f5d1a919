import numpy as np
import pytest

from magms_nnunet.metrics.hausdorff import Surface, diagonal_mm, hd95


def mask(shape, *voxels):
    values = np.zeros(shape, bool)
    for voxel in voxels:
        values[voxel] = True
    return values


def blobs(shape, seed, count=3):
    """A union of balls, some of them cut by the border of the image."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    balls = [
        sum((axis - rng.integers(0, size)) ** 2 for axis, size in zip(grid, shape, strict=True))
        <= rng.integers(2, 6) ** 2
        for _ in range(count)
    ]
    return np.any(balls, axis=0)


@pytest.mark.parametrize(
    ("reference", "prediction", "spacing_mm", "expected"),
    [
        # two voxels, 3 rows of 2 mm and 4 columns of 1 mm apart: sqrt(6^2 + 4^2)
        (mask((5, 5), (0, 0)), mask((5, 5), (3, 4)), (2, 1), 52**0.5),
        (mask((5, 5), (0, 0)), mask((5, 5), (3, 4)), (1, 2), 73**0.5),
        (mask((4, 4, 4), (0, 0, 0)), mask((4, 4, 4), (1, 2, 3)), (5, 1, 0.5), (25 + 4 + 2.25) ** 0.5),
        (mask((1, 4), (0, 1)), mask((1, 4), (0, 1)), (1, 1), 0),
        # the reference's voxels are 0 and 1 mm away: 0.95; the prediction's only one is 0 away
        (mask((4,), 0, 1), mask((4,), 0), (1,), 0.95),
        # from the reference 0, 0, 3; from the prediction 0, 0: the 95th percentile of the former is 2.7
        (mask((9,), 0, 1, 4), mask((9,), 0, 1), (1,), 2.7),
        # the inner voxel of a 3 x 3 square is no edge: the 8 others are all 0 away, the centre would not have been
        (np.ones((3, 3), bool), np.ones((3, 3), bool) & ~mask((3, 3), (1, 1)), (1, 1), 0),
        # a single direction of 20 edge voxels with one 19 mm off: between 0 and 19 at 0.05 of the way
        (mask((60,), *range(0, 38, 2), 55), mask((60,), *range(0, 38, 2)), (1,), 0.05 * 19),
    ],
)
def test_by_hand(reference, prediction, spacing_mm, expected):
    assert hd95(reference, prediction, spacing_mm) == pytest.approx(expected, abs=1e-12)
    assert hd95(prediction, reference, spacing_mm) == pytest.approx(expected, abs=1e-12)


def test_edges_are_voxels_with_a_face_outside_and_the_image_ends_there():
    cube = np.ones((3, 3, 3), bool)
    assert len(Surface(cube, (1, 1, 1))) == 26
    assert len(Surface(np.pad(cube, 2), (1, 1, 1))) == 26
    notched = np.ones((3, 3), bool)
    notched[0, 0] = False  # touches the centre by a corner only: that makes no edge of it
    assert [1, 1] not in Surface(notched, (1, 1)).points_mm.tolist()


def test_the_larger_direction_counts_not_the_pooled_distances():
    reference, prediction = mask((200,), *range(0, 200, 2)), mask((200,), 0)
    # from 100 voxels 0, 2, ..., 198 mm: 188.1 (index 94.05); the other direction has a single 0
    assert hd95(reference, prediction, (1,)) == pytest.approx(188.1)


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 6)])
def test_empty_masks(shape):
    empty, spacing_mm = np.zeros(shape, bool), (2.0,) * len(shape)
    some = mask(shape, (0,) * len(shape))
    assert hd95(empty, empty, spacing_mm) == 0
    assert hd95(some, empty, spacing_mm) == hd95(empty, some, spacing_mm) == diagonal_mm(shape, spacing_mm)
    assert diagonal_mm(shape, spacing_mm) == pytest.approx({1: 14, 2: 10, 3: 14}[len(shape)])


def test_a_shift_and_more_voxels_around_change_nothing():
    reference, prediction = blobs((20, 18, 16), 1), blobs((20, 18, 16), 2)
    spacing_mm = (3, 1, 0.7)
    expected = hd95(reference, prediction, spacing_mm)
    assert expected > 1
    around = [(4, 1), (0, 7), (3, 3)]
    assert hd95(np.pad(reference, around), np.pad(prediction, around), spacing_mm) == pytest.approx(expected)
    turned = hd95(reference.transpose(2, 0, 1), prediction.transpose(2, 0, 1), (0.7, 3, 1))
    assert turned == pytest.approx(expected)


@pytest.mark.parametrize("spacing_mm", [(1, 1), (1, 1, 0), (1, 1, -1), (1, 1, float("nan"))])
def test_a_spacing_that_does_not_fit(spacing_mm):
    with pytest.raises(ValueError, match="spacing_mm must have 3 numbers above 0"):
        hd95(np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool), spacing_mm)


def test_other_shapes_are_an_error():
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        hd95(np.ones(2, bool), np.ones(3, bool), (1,))


@pytest.mark.filterwarnings("ignore:monai:FutureWarning")
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("shape", "spacing_mm"), [((24, 20, 16), (1, 1, 1)), ((12, 30, 30), (5.0, 0.9, 0.7)), ((40, 32), (1.5, 0.6))]
)
def test_equals_monai(shape, spacing_mm, seed):
    pytest.importorskip("monai")
    import torch
    from monai.metrics import compute_hausdorff_distance

    reference, prediction = blobs(shape, seed), blobs(shape, seed + 100)
    tensors = (torch.from_numpy(values)[None, None].float() for values in (prediction, reference))
    expected = compute_hausdorff_distance(*tensors, include_background=True, percentile=95, spacing=spacing_mm)
    assert hd95(reference, prediction, spacing_mm) == pytest.approx(expected.item(), rel=1e-5)
