import pytest
import torch

from magms_nnunet.preprocessing.fill import FILLS, fill_absent


def case(*channels):
    """Two voxels in each channel."""
    return torch.tensor(channels).view(len(channels), 1, 1, 2)


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ("zero", [[0, 0], [1, 2], [0, 0], [3, -2]]),
        ("mean", [[2, 0], [1, 2], [2, 0], [3, -2]]),
    ],
)
def test_by_hand(fill, expected):
    filled = fill_absent(case([1.0, 2.0], [3.0, -2.0]), (1, 3), 4, fill)
    assert filled.shape == (4, 1, 1, 2)
    assert filled.view(4, 2).tolist() == expected


@pytest.mark.parametrize("fill", FILLS)
def test_the_previous_stage_stays_last_and_is_no_part_of_the_mean(fill):
    filled = fill_absent(case([4.0, 2.0], [9.0, 9.0], [7.0, 7.0]), (0,), 2, fill).view(4, 2).tolist()
    absent = [4, 2] if fill == "mean" else [0, 0]
    assert filled == [[4, 2], absent, [9, 9], [7, 7]]


@pytest.mark.parametrize("fill", FILLS)
def test_a_complete_case_stays_as_it_is_and_the_callers_is_not_written_to(fill):
    data = torch.randn(3, 2, 2, 2)
    before = data.clone()
    assert torch.equal(fill_absent(data, (0, 1), 2, fill), data)
    fill_absent(data, (1,), 3, fill).zero_()
    assert torch.equal(data, before)


def test_another_filling_is_an_error():
    with pytest.raises(ValueError, match="zero, mean, got 'median'"):
        fill_absent(torch.zeros(1, 2, 2, 2), (0,), 2, "median")
