from dataclasses import replace

import pytest

from magms_nnunet.images.grid import Grid, difference

LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
RAS = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
GRID = Grid((10, 20, 40), (1.0, 1.0, 2.0), (5.0, 6.0, 7.0), LPS)


@pytest.mark.parametrize(
    ("direction", "code"),
    [
        (LPS, "LPS"),
        (RAS, "RAS"),
        ((0, 0, -1, 1, 0, 0, 0, 1, 0), "PSR"),
        ((0.9, 0.1, 0, -0.1, 0.9, 0, 0, 0, -1), "LPI"),
    ],
)
def test_an_orientation_is_named_by_the_sides_that_the_axes_run_to(direction, code):
    assert replace(GRID, direction=direction).orientation == code


def test_a_slice_has_no_orientation_code():
    assert Grid((2, 3), (1, 1), (0, 0), (1, 0, 0, 1)).orientation == ""


@pytest.mark.parametrize(
    ("change", "shift"),
    [
        ({}, 0),
        ({"origin_mm": (5.0, 6.0, 7.5)}, 0.25),  # half a millimetre of 2
        ({"spacing_mm": (1.0, 1.01, 2.0)}, 0.2),  # 0.01 mm in each of 20
        ({"direction": RAS}, 40),  # twice 20 voxels, to the other side
        ({"direction": (1, 0, 0, 0, 1, 0.001, 0, 0, 1)}, 0.08),  # 80 mm along z
    ],
)
def test_shift_is_the_distance_of_the_same_voxel_in_voxels(change, shift):
    assert GRID.shift(replace(GRID, **change)) == pytest.approx(shift)


def test_the_same_grid_has_no_difference():
    assert difference(GRID, GRID, "b", 0) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": (10, 20, 41)}, "has 10x20x41 voxels, b has 10x20x40"),
        ({"spacing_mm": (1.0, 1.0, 2.5)}, "has a spacing of 1x1x2.5 mm, b of 1x1x2 mm"),
        ({"origin_mm": (5.0, 6.0, 9.0)}, "begins at 5 6 9 mm, b at 5 6 7 mm"),
        ({"direction": RAS}, "is oriented RAS, b LPS"),
        ({"direction": (0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1)}, "is turned against b (direction cosines 0.8 0.6 0"),
        ({"direction": RAS, "origin_mm": (0.0, 0.0, 0.0)}, "is oriented RAS, b LPS"),
    ],
)
def test_a_difference_is_said_with_both_values(change, says):
    assert difference(replace(GRID, **change), GRID, "b", 1e-3).startswith(says)


def test_two_small_differences_can_be_too_much_together():
    other = replace(GRID, origin_mm=(5.0, 6.0, 7.0016), spacing_mm=(1.0, 1.0, 2.00003))  # 0.0008 and 0.0006 voxels
    assert difference(GRID, other, "b", 1e-3) == "begins at 5 6 7 mm, b at 5 6 7.0016 mm"
    assert difference(GRID, other, "b", 1.5e-3) is None


def test_tolerance_is_in_voxels():
    other = replace(GRID, origin_mm=(5.0, 6.0, 7.5))
    assert difference(other, GRID, "b", 0.24).startswith("begins at")
    assert difference(other, GRID, "b", 0.26) is None


def test_axes_at_right_angles():
    assert GRID.is_orthonormal
    assert not replace(GRID, direction=(1, 0.01, 0, 0, 1, 0, 0, 0, 1)).is_orthonormal
