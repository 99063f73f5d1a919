import pytest
import torch

from magms_nnunet.training.subset_law import SubsetLaw


def drawn(law: SubsetLaw, *has: list[int], repeats: int = 3000) -> torch.Tensor:
    """``(repeats, B, M)``"""
    available = torch.tensor(has, dtype=torch.bool)
    return torch.stack([law.draw(available) for _ in range(repeats)])


def test_half_of_a_batch_is_complete():
    complete = drawn(SubsetLaw(0.5), *[[1, 1, 1]] * 4).all(2)
    assert (complete.sum(1) == 2).all()
    assert torch.allclose(complete.float().mean(0), torch.tensor(0.5), atol=0.05)  # whichever sample


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_complete_samples_holds_on_average_for_any_batch(share):
    complete = drawn(SubsetLaw(share), [1, 1, 1], [1, 1, 1], [1, 1, 1]).all(2)
    assert complete.float().mean() == pytest.approx(share, abs=0.02)
    assert set(complete.sum(1).tolist()) <= {int(3 * share), int(3 * share) + 1}


def test_incomplete_subsets_are_drawn_by_size():
    kept = drawn(SubsetLaw(0.0), [1, 1, 1, 1], repeats=12_000)[:, 0]
    sizes = torch.bincount(kept.sum(1), minlength=5)
    assert sizes[0] == sizes[4] == 0
    assert (sizes[1:4] - 4000).abs().max() < 260  # five standard deviations
    for size, subsets in ((1, 4), (2, 6), (3, 4)):
        of_size = torch.unique(kept[kept.sum(1) == size], dim=0, return_counts=True)[1]
        assert len(of_size) == subsets
        expected = 4000 / subsets
        assert (of_size - expected).abs().max() < 5 * expected**0.5 + 60


def test_a_sample_keeps_only_what_it_has():
    kept = drawn(SubsetLaw(0.0), [1, 0, 1, 1], [0, 0, 1, 0])
    assert not kept[:, 0, 1].any()
    assert set(kept[:, 0].sum(1).tolist()) == {1, 2}
    assert torch.equal(kept[:, 1], torch.tensor([[False, False, True, False]]).expand(len(kept), 4))


def test_a_single_modality_is_always_kept():
    assert drawn(SubsetLaw(0.0), [1], [1]).all()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="full_probability must be between 0 and 1"):
        SubsetLaw(share)
