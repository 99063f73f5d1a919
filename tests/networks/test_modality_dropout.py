import pytest
import torch

from magms_nnunet.networks.modality_dropout import random_available, without_absent


@pytest.mark.parametrize("num_modalities", [1, 2, 4])
def test_all_subsets_occur_equally_often_and_none_is_empty(num_modalities):
    subsets, draws = 2**num_modalities - 1, 15_000
    drawn = random_available(draws, num_modalities)
    assert drawn.shape == (draws, num_modalities)
    assert drawn.dtype == torch.bool
    assert drawn.any(1).all()
    counts = torch.unique(drawn, dim=0, return_counts=True)[1]
    assert len(counts) == subsets
    expected = draws / subsets
    assert (counts - expected).abs().max() < 5 * expected**0.5  # five standard deviations of a count


def test_samples_of_a_batch_are_drawn_apart():
    """With 7 subsets, two samples agree in a seventh of the batches."""
    pairs = torch.stack([random_available(2, 3) for _ in range(700)])
    agree = (pairs[:, 0] == pairs[:, 1]).all(1).sum()
    assert 55 < agree < 145  # 100, within five standard deviations


def test_what_is_absent_becomes_0_nan_included_and_other_channels_stay():
    x = torch.arange(1.0, 13).view(2, 3, 2)  # two modalities and the previous stage of a cascade
    x[0, 1] = float("nan")
    x[1, 0] = float("inf")
    result = without_absent(x, torch.tensor([[True, False], [False, True]]))
    assert result.tolist() == [[[1, 2], [0, 0], [5, 6]], [[0, 0], [9, 10], [11, 12]]]
    assert torch.isnan(x[0, 1]).all()  # the caller's is as it was


def test_complete_samples_are_as_before():
    x = torch.randn(2, 3, 4, 4, 4)
    assert torch.equal(without_absent(x, torch.ones(2, 3, dtype=torch.bool)), x)
